"""A real room on a CPU: held-out PSNR against seconds of the fox photographs, as a NeRF and as Gaussian splats.

43 photographs of 270 x 480 to learn from, every 8th held out. A run stops at `--seconds` of optimisation on `--threads`
threads; the clock stands still while the held-out views are judged. The curve is from every 6th pixel each way, the
figure from all pixels at the end (with `--quick` from the curve). What a second is made of is printed with it: rays,
samples a ray, nanoseconds a sample, and the shares of the parts. The photographs lie in `--data`, and no picture made
from them is written.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from figures import CannotRun, Figure, main

from distill3d.core.errors import UserError
from distill3d.run import backend
from distill3d.run.api import build
from distill3d.run.config import load
from distill3d.run.loop import make_optimizer, scale_learning_rates
from distill3d.systems.reconstruct import Reconstruct

GOAL = 24.0  # dB
POINTS = 12  # of a curve


class Clock:
    """Seconds on the wall and of the processor by what they were spent on."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.processor = 0.0

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        wall, processor = time.perf_counter(), time.process_time()
        yield
        self.wall[part] = self.wall.get(part, 0.0) + time.perf_counter() - wall
        self.processor += time.process_time() - processor

    @property
    def seconds(self) -> float:
        return sum(self.wall.values())


def reconstructed(system: Reconstruct, seconds: float) -> tuple[list[tuple[float, float]], dict[str, float]]:
    """The curve [(seconds, dB)] of a run, and what its seconds are made of."""
    optimizer = make_optimizer(system, system.config.optimizer)
    clock, curve, step, rays, samples = Clock(), [(0.0, system.estimate())], 0, 0.0, 0.0
    steps = system.config.steps
    while step < steps and clock.seconds < seconds:
        with clock("advance"):
            system.advance(step, optimizer)
            scale_learning_rates(optimizer, system.config.lr_scale.at(step))
        with clock("forward"):
            total = torch.stack(list(system.losses(step).values())).sum()
        with clock("backward"):
            optimizer.zero_grad(set_to_none=True)
            total.backward()
        with clock("optimizer"):
            optimizer.step()
        step += 1
        rays, samples = rays + system._metrics.get("rays", 0.0), samples + system._metrics.get("samples", 0.0)
        if clock.seconds - curve[-1][0] > seconds / POINTS or step == steps:
            curve.append((clock.seconds, system.estimate()))
            print(f"  {curve[-1][0]:6.1f} s, step {step}: {curve[-1][1]:.2f} dB", flush=True)
    made = {"steps": float(step), "seconds": clock.seconds, "processor_seconds": clock.processor}
    made |= {f"share_{part}": value / clock.seconds for part, value in clock.wall.items()}
    if samples:
        made |= {"rays_a_second": rays / clock.seconds, "samples_a_ray": samples / rays}
        made["ns_a_sample"] = 1e9 * clock.seconds / samples
        made["pictures_seen"] = rays / system.seen.total
    return curve, made


def first_second(curve: list[tuple[float, float]], goal: float) -> float | None:
    """When the curve first reaches `goal`, linear between its points."""
    for (s0, p0), (s1, p1) in itertools.pairwise(curve):
        if p1 >= goal > p0:
            return s0 + (s1 - s0) * (goal - p0) / (p1 - p0)
    return None


def plot(curves: dict[str, list[tuple[float, float]]]) -> str:
    """PSNR over seconds of each kind, with the goal, as an SVG that needs nothing."""
    width, height, left, top, bottom = 640, 300, 46, 16, 34
    last = max(curve[-1][0] for curve in curves.values())
    shown = [(s, p) for curve in curves.values() for s, p in curve[1:]]
    low, high = min(p for _, p in shown) - 0.5, max(GOAL, *(p for _, p in shown)) + 0.5

    def place(seconds: float, psnr: float) -> str:
        x = left + seconds / last * (width - left - 90)
        return f"{x:.1f},{top + (high - psnr) / (high - low) * (height - top - bottom):.1f}"

    goal_x, goal_y = place(last, GOAL).split(",")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<path d="M{left},{top} V{height - bottom} H{goal_x}" fill="none" stroke="#999"/>',
        f'<path d="M{left},{goal_y} H{goal_x}" stroke="#999" stroke-dasharray="4 4"/>',
        f'<text x="{left - 6}" y="{goal_y}" text-anchor="end" dominant-baseline="middle">{GOAL:g} dB</text>',
        f'<text x="{goal_x}" y="{height - 12}" text-anchor="end">{last:.0f} s of optimisation</text>',
    ]
    for (kind, curve), color in zip(curves.items(), ("#c2410c", "#1d4ed8"), strict=False):
        points = " ".join(place(s, p) for s, p in curve[1:])
        x, y = place(*curve[-1]).split(",")
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        label = f"{kind} {curve[-1][1]:.1f}"
        parts.append(f'<text x="{float(x) + 6:.1f}" y="{y}" fill="{color}" dominant-baseline="middle">{label}</text>')
    return "\n".join([*parts, "</svg>", ""])


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    if not (options.data / "transforms.json").is_file():
        raise CannotRun(f"the photographs are missing: {options.data} has no transforms.json")
    seconds = 25.0 if options.quick else options.seconds
    for kind in ("nerf", "gaussians") if options.kind == "both" else (options.kind,):
        try:
            resolved = load("reconstruct", [f"renderer.kind={kind}", *options.set], data=str(options.data))
        except UserError as problem:
            raise CannotRun(str(problem)) from problem
        with backend.reproducible(options.threads):
            start = time.perf_counter()
            system = build(resolved, torch.device("cpu"))
            assert isinstance(system, Reconstruct)
            print(f"{kind}: {system.notices()[-1]}, read in {time.perf_counter() - start:.1f} s", flush=True)
            curve, made = reconstructed(system, seconds)
            found = [] if options.quick else system.qualities()
        quality = sum(q.psnr for q in found) / len(found) if found else curve[-1][1]
        print("  " + ", ".join(f"{name} {value:.4g}" for name, value in made.items()))
        print("  " + ", ".join(f"{q.name} {q.psnr:.1f} dB {q.ssim or 0:.2f}" for q in found))
        reached = first_second(curve, GOAL)
        print(f"  {GOAL:g} dB on the curve " + (f"after {reached:.0f} s" if reached else "not reached"))
        options.raw[kind] = {"curve": curve, "made_of": made, "psnr": quality, "ssim": [q.ssim for q in found]}
        if options.plot is not None:
            options.plot.write_text(plot({kind: made["curve"] for kind, made in options.raw.items()}))
        yield Figure(f"fox_{kind}_psnr", quality, goal=GOAL, unit="dB")


if __name__ == "__main__":
    main(
        __doc__,
        measure,
        data={"type": Path, "default": Path(__file__).parents[2] / "shared/data/fox", "help": "folder of the capture"},
        kind={"choices": ("both", "nerf", "gaussians"), "default": "both"},
        seconds={"type": float, "default": 600.0, "help": "of optimisation (600)"},
        threads={"type": int, "default": 2},
        plot={"type": Path, "default": None, "metavar": "FILE", "help": "an SVG of PSNR over seconds"},
        set={"nargs": "*", "default": [], "metavar": "KEY=VALUE", "help": "overrides of the config"},
    )
