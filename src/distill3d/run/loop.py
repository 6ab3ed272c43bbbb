"""The loop: advance, losses, sum, backward, optimizer, and what is written down on the way."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.files.pictures import write_png
from distill3d.run import checkpoint
from distill3d.run.folder import RunFolder
from distill3d.run.interrupt import Interrupt
from distill3d.run.metrics import MetricsLog
from distill3d.run.progress import Progress
from distill3d.systems.base import OptimizerConfig, System


def optimise(
    system: System,
    optimizer: torch.optim.Optimizer,
    start: int,
    folder: RunFolder,
    metrics: MetricsLog,
    progress: Progress,
    interrupt: Interrupt,
) -> int:
    """Steps from `start` to the config's number, or until `interrupt` was asked for.

    Returns:
        The number of steps done, of which the newest checkpoint is.
    Raises:
        UserError: a loss or a gradient is not finite; or something cannot be written.
    """
    config = system.config
    is_due = CheckpointClock(config.checkpoint_every)
    done = saved = start
    while done < config.steps and not interrupt.asked:
        step = done
        scale_learning_rates(optimizer, config.lr_scale.at(step))
        system.advance(step, optimizer)  # which may change them further
        before = checkpoint.generator_states(system)
        losses = system.losses(step)
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        if not (math.isfinite(total.item()) and gradients_are_finite(optimizer)):
            raise UserError(not_finite(system, optimizer, step, losses, before, folder))
        optimizer.step()
        done += 1

        values = {name: loss.item() for name, loss in losses.items()}
        progress.update(done, values)
        if step % config.log_every == 0 or done == config.steps:
            curves = {f"loss/{name}": value for name, value in values.items()}
            with untouched_generators(system):
                metrics.write(step, {"lr_scale": config.lr_scale.at(step), **curves, **system.metrics()})
        if config.preview_every and (step % config.preview_every == 0 or done == config.steps):
            write_previews(system, step, folder)
        if is_due(done):
            saved = save(system, optimizer, done, folder, metrics)
    if done > saved:
        save(system, optimizer, done, folder, metrics)
    return done


def save(system: System, optimizer: torch.optim.Optimizer, done: int, folder: RunFolder, metrics: MetricsLog) -> int:
    """A checkpoint, after the curves that lead up to it. Returns `done`."""
    metrics.sync()
    checkpoint.save(folder, done, system, optimizer, system.config.keep_checkpoints)
    return done


def make_optimizer(system: System, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Adam or AdamW over the system's groups. Each group's own rate is kept as its `initial_lr`."""
    groups = [{**group, "initial_lr": group["lr"]} for group in system.parameter_groups()]
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.kind]
    return kind(groups, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay)


def scale_learning_rates(optimizer: torch.optim.Optimizer, scale: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * scale


class CheckpointClock:
    """Says when a checkpoint is due: every so many steps, or every so many seconds ("30s")."""

    def __init__(self, every: int | str) -> None:
        self.every = every
        self._last = time.monotonic()

    def __call__(self, done: int) -> bool:
        if isinstance(self.every, int):
            return done % self.every == 0
        if time.monotonic() - self._last < float(self.every[:-1]):
            return False
        self._last = time.monotonic()
        return True


def write_previews(system: System, step: int, folder: RunFolder) -> None:
    with untouched_generators(system), torch.no_grad():
        for name, picture in system.preview(step).items():
            write_png(picture, folder.previews / f"{step:06d}-{name}.png")


@contextmanager
def untouched_generators(system: System) -> Iterator[None]:
    """What is drawn inside is taken back, so that looking at a run does not change it."""
    states = checkpoint.generator_states(system)
    yield
    checkpoint.set_generator_states(system, states)


def gradients_are_finite(optimizer: torch.optim.Optimizer) -> bool:
    return all(is_finite(p.grad) for group in optimizer.param_groups for p in group["params"] if p.grad is not None)


def is_finite(values: Tensor) -> bool:
    # one pass over the memory; a sum of finite numbers may overflow, so only the slow test says no
    return math.isfinite(values.sum().item()) or bool(values.isfinite().all())


def not_finite(
    system: System,
    optimizer: torch.optim.Optimizer,
    step: int,
    losses: dict[str, Tensor],
    before: dict[str, Tensor],
    folder: RunFolder,
) -> str:
    """The error message, with the loss at fault found by repeating the step one loss at a time."""
    found = [f"loss {name!r} is {loss.item():g}" for name, loss in losses.items() if not is_finite(loss.detach())]
    for name in [] if found else losses:
        checkpoint.set_generator_states(system, before)
        optimizer.zero_grad(set_to_none=True)
        loss = system.losses(step)[name]
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        if not gradients_are_finite(optimizer):
            found.append(f"the gradient of loss {name!r} is not finite")
    good: Path | None = checkpoint.latest(folder)
    where = f"the last good checkpoint is {good}" if good else "there is no checkpoint yet"
    what = ", ".join(found) or "a gradient is not finite"
    return f"step {step}: {what}; {where}; a lower lr_scale, weight or cfg_scale may help"
