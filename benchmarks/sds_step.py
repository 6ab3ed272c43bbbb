"""What an SDS step costs beyond its unavoidable parts: the prior's forward passes, the renderer forward and backward.

A step is all that the loop does: advance, render, noise, prior, loss, backward, optimizer. The parts are timed alone in
turn with it, from the same parameters and random numbers: the network on the same noisy pictures with the same
conditions (both branches of the guidance), and the same rendering, sent a gradient of the same shape. The figure is
the median over steps of step / (prior + renderer). The scene has been optimised for a while before, so that it is no
longer the first blob.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial

import torch
from figures import CannotRun, Figure, main, milliseconds
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.diffusion.condition import concatenate
from distill3d.diffusion.sampling import standard_normal
from distill3d.guidance.pictures import shown
from distill3d.guidance.sds import SDS
from distill3d.run import backend
from distill3d.run.api import build
from distill3d.run.checkpoint import generator_states, set_generator_states
from distill3d.run.config import load
from distill3d.run.loop import make_optimizer
from distill3d.systems.text_to_3d import TextTo3D

GOAL = 1.5


def take_step(system: TextTo3D, optimizer: torch.optim.Optimizer, step: int) -> None:
    system.advance(step, optimizer)
    total = torch.stack(list(system.losses(step).values())).sum()
    optimizer.zero_grad(set_to_none=True)
    total.backward()
    optimizer.step()


def prior_pass(system: TextTo3D, step: int) -> Callable[[], object]:
    """The network calls of the next step, with everything that is not the network made ready."""
    guidance = system.guidance[0]
    assert isinstance(guidance, SDS)
    prior = guidance.prior
    with torch.no_grad():
        cameras, rendering = system.render(step)
        x = prior.encode(shown(rendering, prior))
        t = guidance.draw_timesteps(len(x), step).to(x.device)
        x_t = prior.schedule.add_noise(x, standard_normal(x, guidance.generator), t)
        condition = guidance.condition(cameras, rendering.extras["light"])
    branches = [condition]
    if guidance.config.cfg_scale.at(step) != 1 and condition.unconditional is not None:
        branches.append(condition.unconditional)
    count = len(branches)
    both, times = x_t.repeat(count, 1, 1, 1), t.repeat(count)
    every = concatenate(branches, len(x))

    def forward() -> None:
        with torch.no_grad():
            prior.denoise(both, times, every)

    return forward


def renderer_pass(system: TextTo3D, step: int) -> Callable[[], object]:
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


def timed(job: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    job()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def compared(system: TextTo3D, optimizer: torch.optim.Optimizer, first: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each step from `first` on and of its parts, which see the random numbers that the step will draw."""
    seconds: dict[str, list[float]] = {"prior": [], "renderer": [], "step": []}
    for step in range(first, first + rounds):
        before = generator_states(system)
        forward = prior_pass(system, step)
        set_generator_states(system, before)
        seconds["renderer"].append(timed(renderer_pass(system, step), system.device))
        seconds["prior"].append(timed(forward, system.device))
        set_generator_states(system, before)
        seconds["step"].append(timed(partial(take_step, system, optimizer, step), system.device))
    return seconds


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    try:
        resolved = load("dreamfusion", options.set, prompt=options.prompt)
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
    except UserError as problem:
        raise CannotRun(str(problem)) from problem
    ratios = [s / (p + r) for s, p, r in zip(seconds["step"], seconds["prior"], seconds["renderer"], strict=True)]
    print(", ".join(f"{name} {milliseconds(values)}" for name, values in seconds.items()))
    options.raw |= {"seconds": seconds, "ratios": ratios}
    yield Figure("sds_step_over_parts", statistics.median(ratios), goal=GOAL, unit="x", at_most=True)


if __name__ == "__main__":
    main(
        __doc__,
        measure,
        prompt={"default": "a red mushroom"},
        warm_up={"type": int, "default": 150, "help": "steps before the first timed one (150)"},
        rounds={"type": int, "default": 60, "help": "timed steps (60)"},
        set={"nargs": "*", "default": [], "metavar": "KEY=VALUE", "help": "overrides of the config"},
    )
