"""The ways of CUDA: warp's rays, run on its CPU device here, and the clip space that nvdiffrast is given."""

from __future__ import annotations

import math

import pytest
import torch
import trimesh

from distill3d.core.cameras import Cameras
from distill3d.kernels.antialias import antialias
from distill3d.kernels.interpolate import interpolate
from distill3d.kernels.mesh_edges import mesh_edges
from distill3d.kernels.rasterize import visible_triangles
from distill3d.kernels.rasterize_cuda import clip_space, visible_triangles_warp

CAMERAS = Cameras.orbit(torch.tensor([0.3, 2.0]), torch.tensor([0.2, -0.6]), 2.5, math.radians(40.0), (24, 32))


def torus() -> tuple[torch.Tensor, torch.Tensor]:
    mesh = trimesh.creation.torus(0.5, 0.2, major_sections=16, minor_sections=8)
    return torch.tensor(mesh.vertices, dtype=torch.float32), torch.tensor(mesh.faces, dtype=torch.int32)


def test_rays_of_warp_see_what_the_rasteriser_sees() -> None:
    pytest.importorskip("warp")
    vertices, faces = torus()
    here, there = visible_triangles(vertices, faces, CAMERAS), visible_triangles_warp(vertices, faces, CAMERAS, 1e-4)
    assert (here >= 0).float().mean() > 0.1
    assert (here == there).float().mean() > 0.995
    moved = visible_triangles_warp(vertices + 0.1, faces, CAMERAS, 1e-4)  # negative control
    assert (here == moved).float().mean() < 0.95


def test_clip_space_puts_vertices_where_the_lens_does() -> None:
    vertices, _ = torus()
    k = CAMERAS.intrinsics.clone()
    k[:, 0, 2] += 3.0  # a principal point off the middle
    cameras = Cameras(CAMERAS.camera_to_world, k, CAMERAS.height, CAMERAS.width)
    clip = clip_space(vertices, cameras, 0.01)
    device = clip[..., :3] / clip[..., 3:]
    column, row = (device[..., 0] + 1) * 0.5 * cameras.width, (1 - device[..., 1]) * 0.5 * cameras.height
    pose = cameras.camera_to_world
    local = (vertices - pose[:, None, :3, 3]) @ pose[:, :3, :3]
    x, y, z = local.unbind(-1)
    torch.testing.assert_close(column, k[:, 0, 0, None] * x / -z + k[:, 0, 2, None], atol=1e-3, rtol=0)
    torch.testing.assert_close(row, k[:, 1, 1, None] * y / z + k[:, 1, 2, None], atol=1e-3, rtol=0)
    nearer = z[0] > z[0].median()
    assert device[0, nearer, 2].max() < device[0, ~nearer, 2].min()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu() -> None:
    vertices, faces = torus()
    upstream = torch.randn(2, 24, 32, 4, generator=torch.Generator().manual_seed(0))
    pictures, gradients = [], []
    for device in ("cpu", "cuda"):
        leaf = vertices.to(device).requires_grad_()
        corners, cameras = faces.to(device), CAMERAS.to(device)
        triangle = visible_triangles(leaf, corners, cameras)
        values = torch.cat([torch.ones_like(leaf[:, :1]), leaf], 1)
        picture = interpolate(values, leaf, corners, triangle, cameras)
        soft = antialias(picture, leaf, corners, mesh_edges(corners, len(leaf)), triangle, cameras)
        (soft * upstream.to(device)).sum().backward()
        pictures.append(soft.detach().cpu())
        gradients.append(leaf.grad.cpu())
    assert (pictures[0] - pictures[1]).abs().mean() < 1e-3
    assert torch.nn.functional.cosine_similarity(*(g.flatten() for g in gradients), 0) > 0.99
