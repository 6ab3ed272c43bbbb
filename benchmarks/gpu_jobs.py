"""Pairs for `gpu.py` to time on CUDA: what distill3d calls, and the library that it stands on, called directly.

A job is a function that returns (ours, peer), two calls of one training step's work on the same data. It raises
`CannotRun` with one line where something is missing.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from figures import CannotRun
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.kernels import cuda_libraries
from distill3d.kernels.compositing import composite
from distill3d.kernels.hash_grid import GridLayout, hash_encode
from distill3d.kernels.hash_grid_torch import hash_encode_torch
from distill3d.kernels.marching import chebyshev_distance, march
from distill3d.kernels.mlp import mlp, mlp_reference

Pair = tuple[Callable[[], object], Callable[[], object]]
STEP, SIZE, RADIUS = 2 / 256, 256, 0.6


def library(name: str, found: Any | None) -> Any:
    if found is None:
        raise CannotRun(f"{name} is not installed, or does not work on this device")
    return found


def imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as problem:  # a CUDA extension may fail in any way when it is built at import
        said = str(problem).strip().splitlines()[:1] or [type(problem).__name__]
        raise CannotRun(f"{name} does not import: {said[0]}") from None


def cameras(count: int = 4) -> Cameras:
    return Cameras.orbit(torch.arange(count) * 6.28 / count, 0.3, 3.0, 0.8, SIZE).to("cuda")


def scene() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rays, the occupied cells of a ball [G, G, G] and their distances."""
    origins, directions = (a.reshape(-1, 3).contiguous() for a in cameras().rays())
    side = (torch.arange(128, device="cuda") + 0.5) / 64 - 1
    occupied = torch.stack(torch.meshgrid(side, side, side, indexing="ij"), -1).norm(dim=-1) < RADIUS
    return origins, directions, occupied, chebyshev_distance(occupied)


def marching() -> Pair:
    nerfacc = library("nerfacc", cuda_libraries.nerfacc())
    origins, directions, occupied, distance = scene()
    grid = nerfacc.OccGridEstimator([-1.0, -1.0, -1.0, 1.0, 1.0, 1.0], 128).cuda()
    grid.binaries = occupied[None]
    return (
        lambda: march(origins, directions, distance, STEP),
        lambda: grid.sampling(origins, directions, render_step_size=STEP),
    )


def compositing() -> Pair:
    nerfacc = library("nerfacc", cuda_libraries.nerfacc())
    origins, directions, _, distance = scene()
    samples = march(origins, directions, distance, STEP)
    density = torch.rand_like(samples.t).mul(20).requires_grad_()
    color = torch.rand_like(samples.positions).requires_grad_()
    rays, index = len(origins), samples.ray_index

    def ours() -> object:
        seen = composite(density, color, samples.t, samples.offsets, STEP)
        return torch.autograd.grad(seen.rgb.sum() + seen.alpha.sum() + seen.depth.sum(), [density, color])

    def peer() -> object:
        edges = samples.t - STEP / 2, samples.t + STEP / 2
        rgb, alpha, depth, _ = nerfacc.rendering(*edges, index, rays, rgb_sigma_fn=lambda *_: (color, density))
        return torch.autograd.grad(rgb.sum() + alpha.sum() + depth.sum(), [density, color])

    return ours, peer


def encoding() -> Pair:
    """Against tiny-cuda-nn with all levels in one grid; where it is missing, against the torch reference."""
    layout = GridLayout(16, 2, 19, 16, 2048)
    positions = torch.rand(1 << 18, 3, device="cuda")
    table = torch.randn(layout.table_shape, device="cuda").requires_grad_()
    upstream = torch.randn(len(positions), layout.width, device="cuda")
    tiny = cuda_libraries.tinycudann()

    def ours() -> object:
        return torch.autograd.grad(hash_encode(positions, table, layout), table, upstream)

    if tiny is None:
        return ours, lambda: torch.autograd.grad(hash_encode_torch(positions, table, layout), table, upstream)
    config = {"otype": "HashGrid", "n_levels": 16, "n_features_per_level": 2, "log2_hashmap_size": 19}
    grid = tiny.Encoding(3, {**config, "base_resolution": 16, "per_level_scale": 128 ** (1 / 15)}, dtype=torch.float32)
    return ours, lambda: torch.autograd.grad(grid(positions), grid.params, upstream)


def network() -> Pair:
    """Against tiny-cuda-nn's network; where it is missing, against torch."""
    x = torch.randn(1 << 18, 32, device="cuda").requires_grad_()
    weights = [torch.randn(*shape, device="cuda").requires_grad_() for shape in ((64, 32), (64, 64), (4, 64))]
    upstream = torch.randn(len(x), 4, device="cuda")
    tiny = cuda_libraries.tinycudann()

    def ours() -> object:
        return torch.autograd.grad(mlp(x, weights), [x, *weights], upstream)

    if tiny is None:
        return ours, lambda: torch.autograd.grad(mlp_reference(x, weights), [x, *weights], upstream)
    config = {"otype": "FullyFusedMLP", "activation": "ReLU", "output_activation": "None", "n_neurons": 64}
    fused = tiny.Network(32, 4, {**config, "n_hidden_layers": 2})
    return ours, lambda: torch.autograd.grad(fused(x), [x, fused.params], upstream.half())


def splatting() -> Pair:
    gsplat = imported("gsplat")
    splat = imported("distill3d.kernels.splatting").splat
    count, seen_by = 50_000, cameras(1)
    means = torch.nn.functional.normalize(torch.randn(count, 3, device="cuda"), dim=-1) * RADIUS
    quats = torch.randn(count, 4, device="cuda")
    scales, opacities = torch.full((count, 3), -4.0, device="cuda"), torch.zeros(count, device="cuda")
    sh = torch.randn(count, 1, 3, device="cuda")
    inputs = [a.requires_grad_() for a in (means, quats, scales, opacities, sh)]
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], device="cuda"))  # gsplat: y down, z forwards
    world_to_camera = torch.linalg.inv(seen_by.camera_to_world @ flip)

    def ours() -> object:
        rgb = splat(*inputs, seen_by.camera_to_world, seen_by.intrinsics, SIZE, SIZE).rgb
        return torch.autograd.grad(rgb.sum(), inputs)

    def peer() -> object:
        activated = (means, torch.nn.functional.normalize(quats, dim=-1), scales.exp(), opacities.sigmoid(), sh)
        rgb, _, _ = gsplat.rasterization(*activated, world_to_camera, seen_by.intrinsics, SIZE, SIZE, sh_degree=0)
        return torch.autograd.grad(rgb.sum(), inputs)

    return ours, peer


def rasterizing() -> Pair:
    nvdiffrast = imported("nvdiffrast.torch")
    drawing = imported("distill3d.kernels.rasterize_cuda")
    ball = imported("trimesh").creation.icosphere(6, RADIUS)
    vertices = torch.as_tensor(ball.vertices, dtype=torch.float32, device="cuda")
    faces = torch.as_tensor(ball.faces, dtype=torch.int32, device="cuda")
    seen_by, context = cameras(1), nvdiffrast.RasterizeCudaContext()
    clip = drawing.clip_space(vertices, seen_by, 0.01)
    return (
        lambda: drawing.visible_triangles_cuda(vertices, faces, seen_by, 0.01),
        lambda: nvdiffrast.rasterize(context, clip, faces, [SIZE, SIZE]),
    )


JOBS: dict[str, tuple[str, Callable[[], Pair]]] = {
    "march, 4 x 256^2 rays, 128^3 grid": ("nerfacc.OccGridEstimator.sampling", marching),
    "composite, forward + backward": ("nerfacc.rendering", compositing),
    "hash grid 16 x 2 of 2^19, 262k points, fwd + bwd": ("tinycudann.Encoding, or torch", encoding),
    "network 32-64-64-4, 262k rows, fwd + bwd": ("tinycudann.Network, or torch", network),
    "splats, 50k at 256^2, fwd + bwd": ("gsplat.rasterization", splatting),
    "mesh, 82k faces at 256^2": ("nvdiffrast.rasterize", rasterizing),
}
