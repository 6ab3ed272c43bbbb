"""Marching and compositing, forward and backward, against dense nerfacc; and what a NeRF training step is made of.

Both sides render the same pictures (4 cameras, 64 x 64) of a solid ball of radius 0.6 at the same step size, on the
same threads and allocator, and send the same gradient back to density and colour. The field itself is left out:
densities and colours are given. The peer makes the samples of every ray through the unit ball's reach and composites
[rays, samples] tables with nerfacc's functions for the CPU; ours marches the occupancy grid and composites the rest.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable

import numba
import torch
from figures import CannotRun, Figure, interleaved, main, median_ratio, milliseconds
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.kernels.compositing import composite
from distill3d.kernels.hash_grid import hash_encode
from distill3d.kernels.marching import RaySamples, chebyshev_distance, march
from distill3d.kernels.mlp import mlp
from distill3d.renderers import NerfRenderer, Renderer

STEP, RADIUS, DENSITY, DISTANCE = 2 / 96, 0.6, 40.0, 3.0


def cameras() -> Cameras:
    return Cameras.orbit(torch.tensor([0.1, 1.6, 3.2, 4.8]), 0.3, DISTANCE, 0.8, 64)


def dense_nerfacc(
    origins: Tensor, directions: Tensor, upstream: tuple[Tensor, ...]
) -> Callable[[], tuple[Tensor, ...]]:
    try:
        import nerfacc
    except ImportError as missing:
        raise CannotRun("the peer nerfacc is missing: pip install nerfacc") from missing
    count = round(2 / STEP)
    lattice = (torch.arange(count) + round((DISTANCE - 1) / STEP) + 0.5) * STEP
    points = origins[:, None] + lattice[:, None] * directions[:, None]
    density = (DENSITY * (points.norm(dim=-1) < RADIUS)).requires_grad_()
    color = (points * 0.5 + 0.5).requires_grad_()

    def step() -> tuple[Tensor, ...]:
        middle = ((torch.arange(count) + round((DISTANCE - 1) / STEP) + 0.5) * STEP).expand(len(origins), count)
        weights, _, _ = nerfacc.render_weight_from_density(middle - STEP / 2, middle + STEP / 2, density)
        rgb = nerfacc.accumulate_along_rays(weights, color)
        alpha = nerfacc.accumulate_along_rays(weights, None)
        depth = nerfacc.accumulate_along_rays(weights, middle[..., None])
        outputs = (rgb, alpha, depth)
        return torch.cat(outputs, -1).detach(), *torch.autograd.grad(outputs, [density, color], upstream)

    return step


def marched(origins: Tensor, directions: Tensor, upstream: tuple[Tensor, ...]) -> Callable[[], tuple[Tensor, ...]]:
    side = (torch.arange(64) + 0.5) / 32 - 1
    cells = torch.stack(torch.meshgrid(side, side, side, indexing="ij"), -1)
    distance = chebyshev_distance(cells.norm(dim=-1) < RADIUS + 0.03)
    positions = march(origins, directions, distance, STEP).positions
    density = (DENSITY * ((positions * 2 - 1).norm(dim=-1) < RADIUS)).requires_grad_()
    color = positions.clone().requires_grad_()

    def step() -> tuple[Tensor, ...]:
        samples = march(origins, directions, distance, STEP)
        seen = composite(density, color, samples.t, samples.offsets, STEP)
        outputs = (seen.rgb, seen.alpha[:, None], seen.depth[:, None])
        return torch.cat(outputs, -1).detach(), *torch.autograd.grad(outputs, [density, color], upstream)

    return step


def median(job: Callable[[], object], rounds: int) -> float:
    """Milliseconds."""
    job()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        job()
        seconds.append(time.perf_counter() - start)
    return 1e3 * statistics.median(seconds)


def nerf_parts(renderer: NerfRenderer, rounds: int) -> dict[str, float]:
    """Milliseconds of a training step of the renderer, and of its parts, each alone."""
    origins, directions = (a.reshape(-1, 3).contiguous() for a in cameras().rays())
    jitter = torch.rand(len(origins), generator=torch.Generator().manual_seed(1))

    def marching() -> RaySamples:
        return march(origins, directions, renderer.occupancy.distance, STEP, jitter)

    samples = marching()
    field, light = renderer.field, torch.ones(4)
    features = hash_encode(samples.positions, field.table, field.layout).detach().requires_grad_()
    density, color = (a.detach().requires_grad_() for a in field(samples.positions))

    def back(forward: Callable[[], Tensor]) -> Callable[[], object]:
        return lambda: forward().sum().backward()

    return {
        "march": median(marching, rounds),
        "hash grid": median(back(lambda: hash_encode(samples.positions, field.table, field.layout)), rounds),
        "network": median(back(lambda: mlp(features, list(field.weights))), rounds),
        "composite": median(back(lambda: composite(density, color, samples.t, samples.offsets, STEP).rgb), rounds),
        "whole step": median(back(lambda: renderer(cameras()).rgb), rounds),
        "whole step with light": median(back(lambda: renderer(cameras(), light=light).rgb), rounds),
        "occupancy refresh (every 16 steps)": median(lambda: renderer.advance(0), rounds),
    }


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
    rounds = 3 if options.quick else 11
    origins, directions = (a.reshape(-1, 3).contiguous() for a in cameras().rays())
    upstream = torch.randn(len(origins), 5, generator=torch.Generator().manual_seed(0)).split([3, 1, 1], -1)
    upstream = tuple(part.contiguous() for part in upstream)
    peer, ours = dense_nerfacc(origins, directions, upstream), marched(origins, directions, upstream)
    apart = (peer()[0] - ours()[0]).abs().max().item()
    print(f"largest difference of the pictures (rgb, alpha, depth): {apart:.1e}")
    if apart > 1e-2:
        raise CannotRun("the two sides do not render the same picture")
    seconds = interleaved({"nerfacc": peer, "ours": ours}, rounds)
    for name, values in seconds.items():
        print(f"{name}: {milliseconds(values)}")
    options.raw["march_and_composite"] = seconds
    yield Figure("march_and_composite", median_ratio(seconds["nerfacc"], seconds["ours"]), goal=20, unit="x")

    section = {"kind": "nerf", "step": STEP, "blob": {"kind": "magic3d", "radius": RADIUS}}
    renderer = Renderer.build(section, generator=torch.Generator().manual_seed(0))
    renderer.advance(0)
    parts = nerf_parts(renderer, rounds)
    count = renderer(cameras()).extras["samples"]
    print(f"NeRF, 4 cameras at 64 x 64, {count} samples, forward and backward:")
    for name, value in parts.items():
        print(f"  {name}: {value:.1f} ms")
    options.raw["nerf_step"] = {"samples": count, "milliseconds": parts}
    yield Figure("nerf_step", parts["whole step"], goal=100, unit="ms", at_most=True)


if __name__ == "__main__":
    main(__doc__, measure)
