"""What sampling costs beyond its network calls: DDIM steps with guidance, a batch of pictures, the embedded prior.

The floor is the UNet alone, called as often, on both branches of the guidance as one batch, with all of its inputs
made ready once. Sampling and floor take turns; the figure is the ratio of the least times, which other work on the
machine spoils least, and the median over the turns is printed beside it. Where other work never stops,
`--processor-time` counts the seconds of the processor (on one thread). `--model` may name another prior in diffusers
layout.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable

import torch
from figures import CannotRun, Figure, interleaved, main, median_ratio, milliseconds

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.sampling import sample

GOAL = 1.15


class Recorded(torch.nn.Module):
    """A network that keeps the arguments of its last call."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network, self.last, self.calls = network, ((), {}), 0

    def __getattr__(self, name: str):  # type: ignore[no-untyped-def]
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._modules["network"], name)

    def forward(self, *args, **options):  # type: ignore[no-untyped-def]
        self.last, self.calls = (args, options), self.calls + 1
        return self.network(*args, **options)


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    try:
        prior = DiffusionPrior.build({"kind": "diffusion", "model": options.model})
    except UserError as problem:
        raise CannotRun(str(problem)) from problem
    steps, rounds = (10, 3) if options.quick else (options.steps, options.rounds)
    azimuth = torch.linspace(-3, 3, options.batch)
    cameras = Cameras.orbit(azimuth, 0.3) if prior.sees_cameras else None
    condition = prior.condition(["a red mushroom"] * options.batch, cameras)

    def sampled() -> None:
        sample(prior, condition, steps, cfg_scale=3.0, generator=torch.Generator().manual_seed(0))

    network = prior.unet
    prior.unet = recorded = Recorded(network)
    sampled()
    prior.unet = network
    args, inputs = recorded.last
    if recorded.calls != steps:
        raise CannotRun(f"{steps} steps made {recorded.calls} network calls: the branches are not one batch")

    @torch.no_grad()
    def floor() -> None:
        for _ in range(steps):
            network(*args, **inputs)

    clock = time.process_time if options.processor_time else time.perf_counter
    seconds = interleaved({"floor": floor, "sample": sampled}, rounds, clock=clock)
    print(
        f"{steps} steps, {options.batch} pictures, {len(args[0])} a call: "
        + ", ".join(f"{name} {milliseconds(values)}" for name, values in seconds.items())
    )
    print(f"median over the turns: {median_ratio(seconds['sample'], seconds['floor']):.3f} x")
    options.raw |= {"seconds": seconds, "steps": steps, "batch": options.batch}
    yield Figure("sampling_over_network", min(seconds["sample"]) / min(seconds["floor"]), GOAL, "x", at_most=True)


if __name__ == "__main__":
    main(
        __doc__,
        measure,
        model={"default": "toybox", "help": "a prior: toybox, or a folder in diffusers layout"},
        batch={"type": int, "default": 8, "help": "pictures (8)"},
        steps={"type": int, "default": 50, "help": "DDIM steps (50; quick: 10)"},
        processor_time={"action": "store_true", "help": "seconds of the processor, for a machine that others use"},
        rounds={"type": int, "default": 7, "help": "how often each is timed (7; quick: 3)"},
    )
