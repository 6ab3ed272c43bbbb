"""Interpolation: planes, the torch reference, finite differences."""

from __future__ import annotations

import math

import numba
import pytest
import torch
import trimesh
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.kernels.interpolate import interpolate, interpolate_reference
from distill3d.kernels.rasterize import visible_triangles

CAMERAS = Cameras.orbit(torch.tensor([0.3, 2.0]), torch.tensor([0.2, -0.6]), 2.5, math.radians(40.0), 24)


def torus() -> tuple[Tensor, Tensor, Tensor]:
    """vertices [V, 3], faces [F, 3] and the triangles that the cameras see."""
    mesh = trimesh.creation.torus(0.5, 0.2, major_sections=16, minor_sections=8)
    vertices, faces = torch.tensor(mesh.vertices, dtype=torch.float32), torch.tensor(mesh.faces, dtype=torch.int32)
    return vertices, faces, visible_triangles(vertices, faces, CAMERAS)


def test_points_on_the_surface_lie_on_their_rays() -> None:
    vertices, faces, triangle = torus()
    seen = interpolate(vertices, vertices, faces, triangle, CAMERAS)
    origins, directions = CAMERAS.rays()
    hit = triangle >= 0
    across = torch.linalg.cross(seen - origins, directions)[hit]
    assert hit.float().mean() > 0.1
    assert across.norm(dim=-1).max() < 1e-5
    assert (seen[~hit] == 0).all()
    moved = interpolate(vertices + 0.01, vertices, faces, triangle, CAMERAS)  # negative control
    assert torch.linalg.cross(moved - origins, directions)[hit].norm(dim=-1).max() > 1e-3


@pytest.mark.parametrize("channels", [1, 5])
def test_values_and_gradients_of_the_reference(channels: int) -> None:
    vertices, faces, triangle = torus()
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(len(vertices), channels, generator=generator)
    ours = [values.clone().requires_grad_(), vertices.clone().requires_grad_()]
    theirs = [values.double().requires_grad_(), vertices.double().requires_grad_()]
    seen = interpolate(*ours, faces, triangle, CAMERAS)
    expected = interpolate_reference(*theirs, faces, triangle, CAMERAS)
    torch.testing.assert_close(seen.double(), expected, atol=1e-5, rtol=0)
    upstream = torch.randn(seen.shape, generator=generator)
    gradients = torch.autograd.grad(seen, ours, upstream)
    wanted = torch.autograd.grad(expected, theirs, upstream.double())
    for a, b in zip(gradients, wanted, strict=True):
        assert b.abs().max() > 0.1
        torch.testing.assert_close(a.double(), b, atol=1e-5 * b.abs().max().item(), rtol=0)


def test_reference_is_right_by_finite_differences() -> None:
    vertices = torch.tensor([[0.3, -0.5, -0.4], [0.0, 0.6, -0.3], [-0.2, 0.0, 0.5]], dtype=torch.float64)
    faces = torch.tensor([[0, 1, 2]], dtype=torch.int32)
    cameras = Cameras.orbit(0.1, 0.2, 2.0, 0.9, 5)
    triangle = visible_triangles(vertices, faces, cameras)
    assert (triangle >= 0).sum() > 3
    values = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    vertices.requires_grad_()
    inputs = [values, vertices]
    assert torch.autograd.gradcheck(lambda a, v: interpolate_reference(a, v, faces, triangle, cameras), inputs)


def test_threads_do_not_change_a_bit() -> None:
    vertices, faces, triangle = torus()
    before, most, results = numba.get_num_threads(), numba.config.NUMBA_NUM_THREADS, []
    try:
        for threads in (1, most):
            numba.set_num_threads(threads)
            leaf = vertices.clone().requires_grad_()
            seen = interpolate(leaf.square(), leaf, faces, triangle, CAMERAS)
            results.append((seen, *torch.autograd.grad(seen.square().sum(), leaf)))
    finally:
        numba.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
