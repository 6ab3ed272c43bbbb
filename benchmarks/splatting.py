"""Gaussian splatting on the CPU, forward and backward, against gsplat's torch projection with a torch compositor.

Both sides render the same Gaussians (harmonics of degree 3) from the same camera, with one thread and the same
allocator, and send the same gradient of colour and alpha back to all parameters. gsplat's own rasteriser needs CUDA, so
the peer's compositor is torch: lists of tiles by vectorised repeat and sort as gsplat builds them, then for each tile a
dense table [Gaussians, pixels], whose backward is taken at once, so that it needs no more memory than one tile. Its
tile size is the faster of 16 and 32. Figures of one thread compare processor time, which on a quiet machine is what a
clock says and on a busy one is still fair; two threads are timed by the clock.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable

import numba
import torch
from figures import CannotRun, Figure, main
from memory import peak_resident
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.threads import use_threads
from distill3d.kernels.splatting import splat
from distill3d.kernels.splatting_torch import DILATION, FAINTEST, FULLEST, world_to_camera

DEGREE = 3


def scene(count: int) -> list[Tensor]:
    """means, quats, log-scales, logits, harmonics: a ball full of Gaussians, smaller the more there are."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    radius = torch.rand(count, 1, generator=generator) ** (1 / 3)
    means = 0.9 * radius * torch.nn.functional.normalize(normal(count, 3), dim=-1)
    log_scales = math.log(1.5 / math.sqrt(count)) + 0.5 * normal(count, 3)
    return [means, normal(count, 4), log_scales, 1.5 * normal(count), 0.2 * normal(count, (DEGREE + 1) ** 2, 3)]


def camera(size: int) -> Cameras:
    return Cameras.orbit(0.4, 0.3, 3.0, math.radians(40), size)


def ours(parameters: list[Tensor], size: int, upstream: Tensor) -> Callable[[], list[Tensor]]:
    leaves = [p.clone().requires_grad_() for p in parameters]
    view = camera(size)

    def step() -> list[Tensor]:
        seen = splat(*leaves, view.camera_to_world, view.intrinsics, size, size)
        outputs, gradient = [seen.rgb, seen.alpha], [upstream[..., :3], upstream[..., 3]]
        return [seen.rgb.detach(), *torch.autograd.grad(outputs, leaves, gradient)]

    return step


def peer(parameters: list[Tensor], size: int, upstream: Tensor, tile: int) -> Callable[[], list[Tensor]]:
    try:
        from gsplat.cuda._torch_impl import _eval_sh_bases_fast, _fully_fused_projection, _quat_scale_to_covar_preci
    except ImportError as missing:
        raise CannotRun("the peer gsplat is missing: pip install gsplat") from missing
    leaves = [p.clone().requires_grad_() for p in parameters]
    means, quats, log_scales, logits, sh = leaves
    view = camera(size)
    rotation, shift = world_to_camera(view.camera_to_world)
    viewmat = torch.eye(4).repeat(1, 1, 1)
    viewmat[:, :3, :3], viewmat[:, :3, 3] = rotation, shift
    side = size // tile
    v, u = torch.meshgrid(torch.arange(tile) + 0.5, torch.arange(tile) + 0.5, indexing="ij")
    u, v = u.reshape(1, -1), v.reshape(1, -1)
    tiled = upstream.view(side, tile, side, tile, 4).transpose(1, 2).reshape(side * side, tile * tile, 4)

    def step() -> list[Tensor]:
        covariance, _ = _quat_scale_to_covar_preci(quats, log_scales.exp(), compute_preci=False)
        radii, center, depth, conic, _ = _fully_fused_projection(
            means, covariance, viewmat, view.intrinsics, size, size, eps2d=DILATION
        )
        directions = torch.nn.functional.normalize(means - view.position, dim=-1)
        basis = _eval_sh_bases_fast((DEGREE + 1) ** 2, directions)
        color = ((basis[..., None] * sh).sum(1) + 0.5).clamp_min(0)
        splats = torch.cat([center[0], conic[0], torch.sigmoid(logits)[:, None], color], -1)
        flat, gradient = splats.detach(), torch.zeros_like(splats)
        ids, bounds = tile_lists(flat[:, :2], radii[0], depth[0].detach(), tile, side)
        picture = torch.zeros(side * side, tile * tile, 4)
        for t in range(side * side):
            chosen = ids[bounds[t] : bounds[t + 1]]
            if len(chosen) == 0:
                continue
            g = flat[chosen].requires_grad_()
            x, y, a, b, c, opacity, rgb = g.split([1, 1, 1, 1, 1, 1, 3], -1)
            dx, dy = u + (t % side) * tile - x, v + (t // side) * tile - y
            alpha = opacity * torch.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)
            alpha = torch.where(alpha < FAINTEST, 0.0, alpha.clamp_max(FULLEST))
            passing = torch.log1p(-alpha).cumsum(0)
            weights = alpha * torch.exp(torch.cat([torch.zeros_like(passing[:1]), passing[:-1]]))
            seen = torch.cat([weights.T @ rgb, weights.sum(0)[:, None]], -1)
            picture[t] = seen.detach()
            gradient.index_add_(0, chosen, torch.autograd.grad(seen, g, tiled[t])[0])
        whole = picture.view(side, side, tile, tile, 4).transpose(1, 2).reshape(1, size, size, 4)
        return [whole[..., :3], *torch.autograd.grad(splats, leaves, gradient)]

    return step


def tile_lists(center: Tensor, radii: Tensor, depth: Tensor, tile: int, side: int) -> tuple[Tensor, list[int]]:
    """The Gaussians of all tiles, nearest first within each, and where each tile's list begins and ends."""
    low = torch.floor((center - radii) / tile).clamp(0, side).long()
    high = torch.ceil((center + radii) / tile).clamp(0, side).long()
    spread = (high - low).clamp(min=0) * (radii > 0)
    order = torch.argsort(depth)
    counts = spread.prod(-1)[order]
    ids = torch.repeat_interleave(order, counts)
    within = torch.arange(len(ids)) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    across = spread[ids, 0]
    tiles = (low[ids, 1] + within // across) * side + low[ids, 0] + within % across
    order = torch.argsort(tiles, stable=True)
    bounds = torch.searchsorted(tiles[order].contiguous(), torch.arange(side * side + 1))
    return ids[order], bounds.tolist()


def processor_seconds(jobs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Processor seconds of every job in every round, in turn, after a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(rounds + 1):
        for name, job in jobs.items():
            start = time.process_time()
            job()
            if turn:
                seconds[name].append(time.process_time() - start)
    return seconds


def against_peer(count: int, size: int, rounds: int, raw: dict) -> float:
    """How many times less processor time ours takes, on one thread."""
    parameters = scene(count)
    upstream = torch.randn(1, size, size, 4, generator=torch.Generator().manual_seed(1))
    sides = {tile: peer(parameters, size, upstream, tile) for tile in (16, 32)}
    alone = {tile: processor_seconds({"peer": job}, 1)["peer"][0] for tile, job in sides.items()}
    best = min(alone, key=alone.__getitem__)
    jobs = {"peer": sides[best], "ours": ours(parameters, size, upstream)}
    names = ("rgb", "means", "quats", "log-scales", "opacities", "harmonics")
    apart = {
        name: ((a - b).abs().max() / b.abs().max()).item()
        for name, a, b in zip(names, jobs["ours"](), jobs["peer"](), strict=True)
    }
    # the peer does not stop at 1e-4 of the light and its float32 cumulative sums round: a percent tells a real fault
    if apart["rgb"] > 1e-2 or max(apart.values()) > 5e-2:
        raise CannotRun(f"the two sides do not agree: {apart}")
    seconds = processor_seconds(jobs, rounds)
    p, o = statistics.median(seconds["peer"]), statistics.median(seconds["ours"])
    print(
        f"{count} Gaussians, {size} px: peer {1e3 * p:.0f} ms (tiles of {best}), ours {1e3 * o:.1f} ms, "
        f"rgb apart {apart['rgb']:.0e}, gradients {max(list(apart.values())[1:]):.0e}",
        flush=True,
    )
    raw[f"{count}_{size}"] = seconds
    return statistics.median(a / b for a, b in zip(seconds["peer"], seconds["ours"], strict=True))


def two_threads(count: int, size: int, rounds: int, raw: dict) -> float:
    """How many times faster two threads are, by the clock; the same bytes or an error."""
    upstream = torch.randn(1, size, size, 4, generator=torch.Generator().manual_seed(1))
    step = ours(scene(count), size, upstream)
    seconds: dict[int, list[float]] = {1: [], 2: []}
    results = {}
    for turn in range(rounds + 1):
        for threads in (1, 2):
            numba.set_num_threads(threads)
            start = time.perf_counter()
            results[threads] = step()
            if turn:
                seconds[threads].append(time.perf_counter() - start)
    numba.set_num_threads(1)
    if not all(torch.equal(a, b) for a, b in zip(results[1], results[2], strict=True)):
        raise CannotRun("two threads do not give the same bytes as one")
    raw[f"threads_{count}_{size}"] = seconds
    print(
        f"{count} Gaussians, {size} px: one thread {1e3 * min(seconds[1]):.1f} ms, two {1e3 * min(seconds[2]):.1f} ms"
    )
    return min(seconds[1]) / min(seconds[2])


def peak_memory() -> float:
    """GiB that a fresh process has held when it went forward and backward over 500 000 Gaussians at 512 px."""
    run = subprocess.run([sys.executable, __file__, "--only-memory"], capture_output=True, text=True, check=False)
    if run.returncode:
        raise CannotRun(f"the process that measures memory failed: {run.stderr.strip().splitlines()[-1:]}")
    return float(run.stdout.split()[-1])


def only_memory() -> None:
    upstream = torch.randn(1, 512, 512, 4, generator=torch.Generator().manual_seed(1))
    ours(scene(500_000), 512, upstream)()
    print(peak_resident() / 2**30)


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    use_threads(1)
    torch.set_flush_denormal(
        True
    )  # light that has passed a hundred Gaussians is one: it makes the peer ten times slower
    for count in (5_000, 50_000):
        for size in (64, 256) if options.quick else (64, 256, 512):
            ratio = against_peer(count, size, 3 if options.quick else 7, options.raw)
            yield Figure(f"splat_forward_backward_{count // 1000}k_{size}", ratio, goal=35, unit="x")
    if numba.config.NUMBA_NUM_THREADS >= 2:
        for count, size in ((50_000, 256),) if options.quick else ((5_000, 256), (50_000, 256), (50_000, 512)):
            ratio = two_threads(count, size, 10 if options.quick else 30, options.raw)
            yield Figure(f"splat_two_threads_{count // 1000}k_{size}", ratio, goal=1.7, unit="x")
    yield Figure("splat_memory_500k_512", peak_memory(), goal=1.5, unit="GiB", at_most=True)


if __name__ == "__main__":
    if "--only-memory" in sys.argv:
        only_memory()
    else:
        main(__doc__ or "", measure)
