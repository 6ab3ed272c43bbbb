"""What a step costs beyond its unavoidable parts, with any guidance: network calls, the renderer both ways.

A step is all that the loop does: advance, render, noise, network, loss, backward, optimizer. The parts are timed alone
in turn with it, from the same parameters and random numbers: the network calls of that very step, which are listened to
beforehand and made again with the same pictures, times and conditions (the lesson of a LoRA with its way back, and an
encoder's way back to the pictures), and the same rendering, sent a gradient of the same shape. The figure is the median
over steps of step / (network + renderer). The scene has been optimised for a while before, so that it is no longer the
first blob.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial

import torch
from figures import CannotRun, Figure, main, milliseconds
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.diffusion.condition import Condition
from distill3d.diffusion.prediction import Prediction
from distill3d.guidance.clip import Clip
from distill3d.guidance.vsd import VSD
from distill3d.run import backend
from distill3d.run.api import build
from distill3d.run.checkpoint import generator_states, set_generator_states
from distill3d.run.config import load
from distill3d.run.loop import make_optimizer
from distill3d.systems.text_to_3d import TextTo3D

GOAL = 1.3
CONFIGS: dict[str, tuple[str, list[str]]] = {
    "sds": ("dreamfusion", []),
    "csd": ("dreamfusion", ["guidance=[{kind: csd, weighting: clean, text: 5, timesteps: [0.1, 0.98]}]"]),
    "ism": ("luciddreamer", []),
    "vsd": ("prolificdreamer", []),
    "mvdream": ("mvdream", []),
    "dreamfields": ("dreamfields", []),
    "controlnet3d": ("controlnet3d", []),
    "dreamtime": ("dreamtime", []),
}
Job = Callable[[], object]


def take_step(system: TextTo3D, optimizer: torch.optim.Optimizer, step: int) -> None:
    system.advance(step, optimizer)
    total = torch.stack(list(system.losses(step).values())).sum()
    optimizer.zero_grad(set_to_none=True)
    total.backward()
    optimizer.step()


def network_pass(system: TextTo3D, step: int) -> Job:
    """The network calls of the next step, in their order, with everything that is not the network made ready."""
    jobs: list[Job] = []
    with ExitStack() as stack:
        if isinstance(system.guidance[0], Clip):
            encoder = system.guidance[0].encoder
            stack.enter_context(patched(encoder, "pictures", partial(heard_encoder, encoder.pictures, jobs)))
        else:
            denoise = system.prior.denoise
            stack.enter_context(patched(system.prior, "denoise", partial(heard_denoiser, system, denoise, jobs)))
        system.losses(step)

    def every() -> None:
        for job in jobs:
            job()

    return every


@contextmanager
def patched(owner: object, name: str, listener: Callable[..., object]) -> Iterator[None]:
    """`listener` in the place of a method of one object."""
    setattr(owner, name, listener)
    try:
        yield
    finally:
        delattr(owner, name)


def heard_denoiser(
    system: TextTo3D, denoise: Callable[..., Prediction], jobs: list[Job], x_t: Tensor, t: Tensor, condition: Condition
) -> Prediction:
    """The call itself; `jobs` gets one that makes it again: with a LoRA's views, and its way back where it has one."""
    guidance, graph = system.guidance[0], torch.is_grad_enabled()
    views = guidance.adapters._views if isinstance(guidance, VSD) else None
    learnt = [p for p in guidance.parameters() if p.requires_grad] if graph else []

    def again() -> None:
        asleep = views is None or not isinstance(guidance, VSD)
        with nullcontext() if asleep else guidance.adapters.awake(views), torch.set_grad_enabled(graph):
            seen = denoise(x_t, t, condition).clean
            if learnt:
                torch.autograd.grad(seen, learnt, torch.ones_like(seen), allow_unused=True)

    jobs.append(again)
    return denoise(x_t, t, condition)


def heard_encoder(encode: Callable[[Tensor], Tensor], jobs: list[Job], pictures: Tensor) -> Tensor:
    """The call itself; `jobs` gets one that makes it again, and goes back to the pictures."""
    leaf = pictures.detach().requires_grad_()

    def again() -> None:
        seen = encode(leaf)
        torch.autograd.grad(seen, leaf, torch.ones_like(seen))

    jobs.append(again)
    return encode(pictures)


def renderer_pass(system: TextTo3D, step: int) -> Job:
    """The next step's rendering, forward and backward."""
    size = round(system.config.cameras.size.at(step))
    upstream: Tensor = torch.linspace(-1, 1, system.config.cameras.views * size * size * 4, device=system.device)

    def both_ways() -> None:
        _, rendering = system.render(step)
        seen = torch.cat([rendering.extras["foreground"], rendering.alpha], -1)
        torch.autograd.grad(
            seen,
            [p for p in system.renderer.parameters() if p.requires_grad],
            upstream.view_as(seen),
            allow_unused=True,
        )

    return both_ways


def timed(job: Job, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    job()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def compared(system: TextTo3D, optimizer: torch.optim.Optimizer, first: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each step from `first` on and of its parts, which see the random numbers that the step will draw."""
    seconds: dict[str, list[float]] = {"network": [], "renderer": [], "step": []}
    for step in range(first, first + rounds):
        before = generator_states(system)
        network = network_pass(system, step)
        set_generator_states(system, before)
        seconds["renderer"].append(timed(renderer_pass(system, step), system.device))
        seconds["network"].append(timed(network, system.device))
        set_generator_states(system, before)
        seconds["step"].append(timed(partial(take_step, system, optimizer, step), system.device))
    return seconds


def ratio(name: str, options: argparse.Namespace) -> Figure:
    """One guidance, in the config that has it."""
    config, overrides = CONFIGS[name]
    resolved = load(config, [*overrides, *options.set], prompt=options.prompt)
    device = backend.choose_device(resolved.config.device)
    with backend.reproducible(resolved.config.threads):
        system = build(resolved, device)
        if not isinstance(system, TextTo3D) or len(system.guidance) != 1:
            raise CannotRun("only the system text_to_3d with one guidance is timed here")
        optimizer = make_optimizer(system, resolved.config.optimizer)
        warm_up, rounds = (20, 10) if options.quick else (options.warm_up, options.rounds)
        for step in range(warm_up):
            take_step(system, optimizer, step)
        seconds = compared(system, optimizer, warm_up, rounds)
    ratios = [s / (n + r) for s, n, r in zip(seconds["step"], seconds["network"], seconds["renderer"], strict=True)]
    print(f"{name}: " + ", ".join(f"{part} {milliseconds(values)}" for part, values in seconds.items()), flush=True)
    options.raw[name] = {"seconds": seconds, "ratios": ratios}
    return Figure(f"{name}_step_over_parts", statistics.median(ratios), goal=GOAL, unit="x", at_most=True)


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    try:
        for name in CONFIGS if options.guidance == "all" else [options.guidance]:
            yield ratio(name, options)
    except UserError as problem:
        raise CannotRun(str(problem)) from problem


if __name__ == "__main__":
    main(
        __doc__,
        measure,
        guidance={"choices": [*CONFIGS, "all"], "default": "sds", "help": "whose step (sds), or all in turn"},
        prompt={"default": "a red mushroom"},
        warm_up={"type": int, "default": 150, "help": "steps before the first timed one (150)"},
        rounds={"type": int, "default": 60, "help": "timed steps (60)"},
        set={"nargs": "*", "default": [], "metavar": "KEY=VALUE", "help": "overrides of the config"},
    )
