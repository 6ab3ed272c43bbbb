"""Marching and compositing, forward and backward, against dense nerfacc; and what a NeRF training step is made of.

Both sides render the same pictures (4 cameras, 64 x 64) of a solid ball of radius 0.6 at the same step size, on the
same threads and allocator, and send the same gradient back to density and colour. The field itself is left out:
densities and colours are given. The peer makes the samples of every ray through the unit ball's reach and composites
[rays, samples] tables with nerfacc's functions for the CPU; ours marches the occupancy grid and composites the rest.
The same is printed for a chair of the toybox, which is neither round nor solid.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable

import numpy as np
import torch
from figures import CannotRun, Figure, interleaved, main, median_ratio, milliseconds
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.threads import use_threads
from distill3d.kernels.compositing import composite
from distill3d.kernels.hash_grid import hash_encode
from distill3d.kernels.marching import RaySamples, chebyshev_distance, march
from distill3d.kernels.mlp import mlp
from distill3d.renderers import NerfRenderer, Renderer
from distill3d.toybox.geometry import occupancy
from distill3d.toybox.world import toy_from_prompt

STEP, RADIUS, DENSITY, DISTANCE = 2 / 96, 0.6, 40.0, 3.0


def ball(points: Tensor) -> Tensor:
    return points.norm(dim=-1) < RADIUS


def chair(points: Tensor) -> Tensor:
    toy = toy_from_prompt("a chair", np.random.default_rng(0))
    return torch.from_numpy(occupancy(toy, points.reshape(-1, 3).numpy())).reshape(points.shape[:-1])


def cameras() -> Cameras:
    return Cameras.orbit(torch.tensor([0.1, 1.6, 3.2, 4.8]), 0.3, DISTANCE, 0.8, 64)


def dense_nerfacc(
    origins: Tensor, directions: Tensor, upstream: tuple[Tensor, ...], solid: Callable[[Tensor], Tensor]
) -> Callable[[], tuple[Tensor, ...]]:
    try:
        import nerfacc
    except ImportError as missing:
        raise CannotRun("the peer nerfacc is missing: pip install nerfacc") from missing
    count = round(2 / STEP)
    lattice = (torch.arange(count) + round((DISTANCE - 1) / STEP) + 0.5) * STEP
    points = origins[:, None] + lattice[:, None] * directions[:, None]
    density = (DENSITY * solid(points)).requires_grad_()
    color = (points * 0.5 + 0.5).requires_grad_()

    def step() -> tuple[Tensor, ...]:
        middle = ((torch.arange(count) + round((DISTANCE - 1) / STEP) + 0.5) * STEP).expand(len(origins), count)
        weights, _, _ = nerfacc.render_weight_from_density(middle - STEP / 2, middle + STEP / 2, density)
        rgb = nerfacc.accumulate_along_rays(weights, color)
        alpha = nerfacc.accumulate_along_rays(weights, None)
        depth = nerfacc.accumulate_along_rays(weights, middle[..., None])
        outputs = (rgb, alpha, depth)
        return *outputs, *torch.autograd.grad(outputs, [density, color], upstream)

    return step


def marched(
    origins: Tensor, directions: Tensor, upstream: tuple[Tensor, ...], solid: Callable[[Tensor], Tensor]
) -> Callable[[], tuple[Tensor, ...]]:
    side = (torch.arange(64) + 0.5) / 32 - 1
    cells = torch.stack(torch.meshgrid(side, side, side, indexing="ij"), -1)
    occupied = torch.nn.functional.max_pool3d(solid(cells).float()[None], 3, stride=1, padding=1)[0] > 0
    distance = chebyshev_distance(occupied)
    positions = march(origins, directions, distance, STEP).positions
    density = (DENSITY * solid(positions * 2 - 1)).requires_grad_()
    color = positions.clone().requires_grad_()
    flat = upstream[0], upstream[1][:, 0], upstream[2][:, 0]  # our alpha and depth are [R], nerfacc's [R, 1]

    def step() -> tuple[Tensor, ...]:
        samples = march(origins, directions, distance, STEP)
        seen = composite(density, color, samples.t, samples.offsets, STEP)
        outputs = (seen.rgb, seen.alpha, seen.depth)
        return *outputs, *torch.autograd.grad(outputs, [density, color], flat)

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
    use_threads(torch.get_num_threads())
    rounds = 3 if options.quick else 11
    origins, directions = (a.reshape(-1, 3).contiguous() for a in cameras().rays())
    upstream = torch.randn(len(origins), 5, generator=torch.Generator().manual_seed(0)).split([3, 1, 1], -1)
    upstream = tuple(part.contiguous() for part in upstream)
    for name, solid in {"march_and_composite": ball, "march_and_composite_chair": chair}.items():
        peer, ours = (make(origins, directions, upstream, solid) for make in (dense_nerfacc, marched))
        apart = max((a.reshape(b.shape) - b).abs().max().item() for a, b in zip(peer()[:3], ours()[:3], strict=True))
        print(f"{name}: largest difference of the pictures (rgb, alpha, depth): {apart:.1e}")
        if apart > 1e-2:
            raise CannotRun("the two sides do not render the same picture")
        seconds = interleaved({"nerfacc": peer, "ours": ours}, rounds)
        print(*(f"  {side}: {milliseconds(values)}" for side, values in seconds.items()), sep="\n")
        options.raw[name] = seconds
        yield Figure(name, median_ratio(seconds["nerfacc"], seconds["ours"]), goal=20, unit="x")

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
