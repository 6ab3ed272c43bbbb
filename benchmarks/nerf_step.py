"""A whole NeRF training step (march, encode, network, composite, backward) against plain torch with dense samples.

Both sides render the same rays of one field (16 x 2 hash grid of 2^15 rows, network 32-64-64-4, a ball of radius 0.6
with a soft edge) on the same threads and allocator, and send the same gradient of the pictures back to all parameters.
The peer is what one writes first: every ray's samples through the ball's reach, on one lattice, through the torch
references of grid, network and activations, composited as [rays, samples] tables.

The network's work is counted as 6 multiply-adds' worth of flops a weight and sample (2 forward, 4 backward), without
padding and without the recomputation of hidden layers; the peak is a large torch.mm in the same run.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterable

import torch
from figures import CannotRun, Figure, interleaved, main, median_ratio, milliseconds
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.threads import use_threads
from distill3d.kernels.compositing import composite
from distill3d.kernels.field_heads import field_heads, field_heads_reference
from distill3d.kernels.hash_grid import hash_encode
from distill3d.kernels.hash_grid_torch import hash_encode_torch
from distill3d.kernels.marching import march
from distill3d.kernels.mlp import mlp, mlp_reference
from distill3d.renderers import NerfRenderer, Renderer

STEP, DISTANCE, REACH = 2 / 96, 3.0, 1.0
FIELD = {
    "kind": "nerf",
    "step": STEP,
    "grid": {"levels": 16, "log2_table": 15, "base": 16, "finest": 512},
    "network": {"hidden": 64, "layers": 2},
    "blob": {"kind": "magic3d", "strength": 40.0, "radius": 0.6},
    "occupancy": {"threshold": 2e-4},  # so that what the peer sees of the soft edge is seen
}


def rays(size: int) -> tuple[Tensor, Tensor]:
    cameras = Cameras.orbit(torch.tensor([0.1, 2.2]), 0.3, DISTANCE, 0.8, size)
    origins, directions = cameras.rays()
    return origins.reshape(-1, 3).contiguous(), directions.reshape(-1, 3).contiguous()


def heads_arguments(renderer: NerfRenderer) -> tuple[str, float, str, float, float]:
    network, blob = renderer.field.network, renderer.field.blob
    return network.activation, network.density_scale, blob.kind, blob.strength, blob.radius


def dense(renderer: NerfRenderer, origins: Tensor, directions: Tensor) -> Tensor:
    """Foreground [R, 3] and alpha [R, 1] side by side, by plain torch."""
    field = renderer.field
    first = round((DISTANCE - REACH) / STEP)
    t = (first + torch.arange(round(2 * REACH / STEP)) + 0.5) * STEP
    points = (origins[:, None] + t[:, None] * directions[:, None]).reshape(-1, 3) * 0.5 + 0.5
    features = hash_encode_torch(points, field.table, field.layout)
    raw = mlp_reference(features, list(field.weights))
    density, color = field_heads_reference(raw, points, *heads_arguments(renderer))
    optical = density.view(len(origins), -1) * STEP
    weights = torch.exp(-(optical.cumsum(1) - optical)) * -torch.expm1(-optical)
    rgb = (weights[..., None] * color.view(len(origins), -1, 3)).sum(1)
    return torch.cat([rgb, weights.sum(1, keepdim=True)], -1)


def ours(renderer: NerfRenderer, origins: Tensor, directions: Tensor) -> Tensor:
    seen = renderer.trace(origins, directions)
    return torch.cat([seen.foreground, seen.alpha[:, None]], -1)


def parts(renderer: NerfRenderer, origins: Tensor, directions: Tensor) -> tuple[dict[str, Callable[[], object]], int]:
    """The parts of our step, each alone, forward and backward; and how many samples they work on."""
    field, distance = renderer.field, renderer.occupancy.distance
    samples = march(origins, directions, distance, STEP)
    features = hash_encode(samples.positions, field.table, field.layout).detach().requires_grad_()
    raw = mlp(features, list(field.weights)).detach().requires_grad_()
    arguments = heads_arguments(renderer)
    density, color = (a.detach().requires_grad_() for a in field_heads(raw, samples.positions, *arguments))
    to_features, to_raw = torch.randn_like(features), torch.randn_like(raw)
    to_density, to_color = torch.randn_like(density), torch.randn_like(color)
    to_rgb, to_alpha = torch.randn(len(origins), 3), torch.randn(len(origins))

    def encoded() -> object:
        return torch.autograd.grad(hash_encode(samples.positions, field.table, field.layout), field.table, to_features)

    def network() -> object:
        return torch.autograd.grad(mlp(features, list(field.weights)), [features, *field.weights], to_raw)

    def heads() -> object:
        return torch.autograd.grad(field_heads(raw, samples.positions, *arguments), raw, [to_density, to_color])

    def composited() -> object:
        seen = composite(density, color, samples.t, samples.offsets, STEP)
        return torch.autograd.grad([seen.rgb, seen.alpha], [density, color], [to_rgb, to_alpha])

    jobs = {
        "march": lambda: march(origins, directions, distance, STEP),
        "encode": encoded,
        "network": network,
        "heads": heads,
        "composite": composited,
    }
    return jobs, len(samples.t)


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    use_threads(torch.get_num_threads())
    size, rounds = (24, 3) if options.quick else (48, 7)
    renderer = Renderer.build(FIELD, generator=torch.Generator().manual_seed(0))
    for _ in range(4):  # each looks at one random point a cell
        renderer.advance(0)
    renderer.eval()
    origins, directions = rays(size)
    parameters = [renderer.field.table, *renderer.field.weights]
    upstream = torch.randn(len(origins), 4, generator=torch.Generator().manual_seed(0))

    def step(render: Callable[..., Tensor]) -> Callable[[], tuple[Tensor, ...]]:
        def job() -> tuple[Tensor, ...]:
            seen = render(renderer, origins, directions)
            return seen.detach(), *torch.autograd.grad(seen, parameters, upstream)

        return job

    peer, whole = step(dense), step(ours)
    theirs, mine = peer(), whole()
    apart = (theirs[0] - mine[0]).abs().max().item()
    angle = torch.nn.functional.cosine_similarity(theirs[1].flatten(), mine[1].flatten(), 0).item()
    print(f"pictures differ by at most {apart:.1e}, table gradients point the same way to {1 - angle:.1e}")
    if apart > 3e-2 or angle < 0.98:
        raise CannotRun("the two sides do not do the same step")

    jobs, count = parts(renderer, origins, directions)
    matrix = torch.randn(1024, 1024)
    jobs["peak"] = lambda: matrix @ matrix
    dense_count = len(origins) * round(2 * REACH / STEP)
    print(f"{len(origins)} rays: {dense_count} dense samples, {count} in occupied cells")
    seconds = interleaved({"torch": peer, "ours": whole, **jobs}, rounds)
    options.raw.update(seconds=seconds, samples=count, dense_samples=dense_count)
    print(f"torch: {milliseconds(seconds['torch'])}, ours: {milliseconds(seconds['ours'])}")
    for name in list(jobs)[:-1]:
        share = statistics.median(p / o for p, o in zip(seconds[name], seconds["ours"], strict=True))
        print(f"  {name}: {milliseconds(seconds[name])}, {100 * share:.0f} %")
    flops = 6 * count * sum(w.numel() for w in renderer.field.weights)
    peak = 2 * 1024**3 / min(seconds["peak"])
    # the best of the rounds on both sides: a busy moment would meet a long job more often than a short one
    reached = flops / min(seconds["network"]) / peak
    print(f"  sgemm peak {peak / 1e9:.0f} Gflop/s, network {flops / min(seconds['network']) / 1e9:.0f}")
    yield Figure("nerf_step_over_torch", median_ratio(seconds["torch"], seconds["ours"]), goal=12, unit="x")
    yield Figure("network_share_of_peak", 100 * reached, goal=55, unit="%")


if __name__ == "__main__":
    main(__doc__, measure)
