"""Silhouettes: areas, the torch reference, finite differences, what hides what."""

from __future__ import annotations

import math

import pytest
import torch
import trimesh
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.kernels.antialias import antialias, antialias_reference
from distill3d.kernels.interpolate import interpolate
from distill3d.kernels.mesh_edges import mesh_edges
from distill3d.kernels.rasterize import visible_triangles


def cameras(size: int) -> Cameras:
    return Cameras.orbit(torch.tensor([0.3, 1.7]), torch.tensor([0.2, 0.7]), 3.0, math.radians(40.0), size)


def sphere(subdivisions: int) -> tuple[Tensor, Tensor]:
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=0.6)
    return torch.tensor(mesh.vertices, dtype=torch.float32), torch.tensor(mesh.faces, dtype=torch.int32)


def torus() -> tuple[Tensor, Tensor]:
    mesh = trimesh.creation.torus(0.5, 0.2, major_sections=16, minor_sections=8)
    return torch.tensor(mesh.vertices, dtype=torch.float32), torch.tensor(mesh.faces, dtype=torch.int32)


def coverage(vertices: Tensor, faces: Tensor, views: Cameras) -> Tensor:
    triangle = visible_triangles(vertices, faces, views)
    picture = (triangle >= 0).to(vertices)[..., None]
    return antialias(picture, vertices, faces, mesh_edges(faces, len(vertices)), triangle, views)


def supersampled(vertices: Tensor, faces: Tensor, views: Cameras) -> Tensor:
    """Coverage of each picture in pixels, from 8 x 8 samples a pixel."""
    hits = visible_triangles(vertices, faces, views.resized(8 * views.height)) >= 0
    return hits.flatten(1).double().sum(1) / 64


@pytest.mark.parametrize("subdivisions", [1, 5])  # 20k faces at 128 pixels: triangles smaller than a pixel
def test_coverage_grows_with_the_object_as_finite_differences_say(subdivisions: int) -> None:
    vertices, faces = sphere(subdivisions)
    views = cameras(128)
    scale = torch.ones((), requires_grad=True)
    area = coverage(vertices * scale, faces, views).sum()
    area.backward()
    exact = [supersampled(vertices * s, faces, views).sum().item() for s in (0.98, 1.0, 1.02)]
    assert area.item() == pytest.approx(exact[1], rel=1e-3)
    assert scale.grad.item() == pytest.approx((exact[2] - exact[0]) / 0.04, rel=0.03)


def test_pixels_alone_would_not_know() -> None:
    """Negative control: a search that starts from the triangles in the pixels finds few of the silhouette's edges."""
    vertices, faces = sphere(5)
    views = cameras(128)
    triangle = visible_triangles(vertices, faces, views)
    edges = mesh_edges(faces, len(vertices))
    known = torch.zeros(len(faces), dtype=torch.bool)
    known[triangle[0][triangle[0] >= 0].long()] = True  # to one camera an edge is known where a face of it was seen
    pairs = edges.pairs()
    p, q, r = (vertices - views.position[0])[faces.long()].unbind(1)
    front = (p * torch.linalg.cross(q, r)).sum(-1) < 0
    silhouette = front[pairs[:, 0]] != front[pairs[:, 1]]
    assert silhouette.sum() > 200
    assert (known[pairs].any(1) & silhouette).sum() < 0.4 * silhouette.sum()


def test_pixels_hold_their_share_of_a_square() -> None:
    vertices = torch.tensor([[0.0, -0.5, -0.4], [0.0, 0.43, -0.4], [0.0, 0.43, 0.3], [0.0, -0.5, 0.3]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32)
    views = Cameras.orbit(0.0, 0.0, 3.0, math.radians(40.0), 16)
    alpha = coverage(vertices, faces, views)[0, :, :, 0]
    hits = visible_triangles(vertices, faces, views.resized(256))[0] >= 0
    exact = hits.float().view(16, 16, 16, 16).mean((1, 3))
    assert (alpha - exact).abs().max() < 0.05
    hard = (visible_triangles(vertices, faces, views)[0] >= 0).float()
    assert (hard - exact).abs().max() > 0.3  # negative control


def test_a_spot_smaller_than_a_pixel_stays_between_nothing_and_one() -> None:
    vertices, faces = sphere(2)
    views = Cameras.orbit(0.0, 0.0, 3.0, math.radians(40.0), 9)
    for radius in (0.03, 0.06, 0.1):
        alpha = coverage(vertices * (radius / 0.6), faces, views)
        assert alpha.min() >= 0
        assert alpha.max() <= 1
        assert alpha.max() > 0.02


def colored(vertices: Tensor, faces: Tensor, views: Cameras, reference: bool = False) -> Tensor:
    """Coverage and a colour that changes over the surface."""
    triangle = visible_triangles(vertices, faces, views)
    edges = mesh_edges(faces, len(vertices))
    values = torch.cat([torch.ones_like(vertices[:, :1]), vertices.detach().mul(7).sin()], 1)
    picture = interpolate(values, vertices.detach(), faces, triangle, views)
    blend = antialias_reference if reference else antialias
    return blend(picture, vertices, faces, edges, triangle, views)


@pytest.mark.parametrize("shape", [torus, lambda: sphere(4)])
def test_values_and_gradients_of_the_reference(shape) -> None:
    vertices, faces = shape()
    views = cameras(48)
    triangle = visible_triangles(vertices, faces, views)
    edges = mesh_edges(faces, len(vertices))
    picture = torch.rand(*triangle.shape, 3, generator=torch.Generator().manual_seed(0)) * (triangle >= 0)[..., None]
    ours = [picture.clone().requires_grad_(), vertices.clone().requires_grad_()]
    theirs = [picture.double().requires_grad_(), vertices.double().requires_grad_()]
    seen = antialias(*ours, faces, edges, triangle, views)
    expected = antialias_reference(*theirs, faces, edges, triangle, views)
    assert (seen - picture).abs().max() > 0.3
    torch.testing.assert_close(seen.double(), expected, atol=1e-5, rtol=0)
    upstream = torch.randn(seen.shape, generator=torch.Generator().manual_seed(1))
    gradients = torch.autograd.grad(seen, ours, upstream)
    wanted = torch.autograd.grad(expected, theirs, upstream.double())
    for a, b in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(a.double(), b, atol=1e-5 * b.abs().max().item(), rtol=0)


def test_reference_is_right_by_finite_differences() -> None:
    vertices, faces = torus()
    vertices, views = vertices.double(), cameras(20)
    triangle = visible_triangles(vertices, faces, views)
    edges = mesh_edges(faces, len(vertices))
    picture = (triangle >= 0).double()[..., None] * torch.tensor([1.0, 0.3], dtype=torch.float64)
    upstream = torch.randn(*picture.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def loss(places: Tensor) -> Tensor:
        return (antialias_reference(picture, places, faces, edges, triangle, views) * upstream).sum()

    leaf = vertices.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf), leaf)
    generator = torch.Generator().manual_seed(3)
    for _ in range(4):
        direction = torch.randn(vertices.shape, dtype=torch.float64, generator=generator)
        difference = (loss(vertices + 1e-7 * direction) - loss(vertices - 1e-7 * direction)) / 2e-7
        assert difference.item() == pytest.approx((gradient * direction).sum().item(), rel=1e-5)


def test_what_is_hidden_gets_no_gradient() -> None:
    vertices, faces = sphere(2)
    views = Cameras.orbit(0.0, 0.0, 3.0, math.radians(40.0), 48)
    behind = vertices * 0.4 - torch.tensor([0.8, 0.0, 0.0])
    both = torch.cat([vertices, behind]).requires_grad_()
    indices = torch.cat([faces, faces + len(vertices)])
    coverage(both, indices, views).square().sum().backward()
    assert both.grad[: len(vertices)].abs().max() > 0.1
    assert (both.grad[len(vertices) :] == 0).all()
    beside = (torch.cat([vertices, behind + torch.tensor([0.0, 0.75, 0.0])])).requires_grad_()  # negative control
    coverage(beside, indices, views).square().sum().backward()
    assert beside.grad[len(vertices) :].abs().max() > 0.1


def test_edges_between_two_surfaces_blend_their_colors() -> None:
    near, faces = sphere(3)
    far = near * 1.2 - torch.tensor([1.0, 0.0, 0.0])
    vertices, indices = torch.cat([near * 0.5, far]), torch.cat([faces, faces + len(near)])
    views = Cameras.orbit(0.0, 0.0, 3.0, math.radians(40.0), 48)
    triangle = visible_triangles(vertices, indices, views)
    red = (triangle >= 0) & (triangle < len(faces))
    picture = torch.stack([red.float(), (triangle >= len(faces)).float()], -1)
    leaf = vertices.clone().requires_grad_()
    seen = antialias(picture, leaf, indices, mesh_edges(indices, len(vertices)), triangle, views)
    middle = seen[0, 18:30, 18:30]
    torch.testing.assert_close(middle.sum(-1), torch.ones(12, 12))
    seen[..., 0].sum().backward()
    outwards = (leaf.grad[: len(near)] * near).sum()
    assert outwards > 100  # the near ball's growth shows more red


def test_camera_among_the_triangles_and_no_triangles_at_all() -> None:
    vertices, faces = sphere(2)
    inside = Cameras.orbit(0.4, 0.1, 0.2, math.radians(100.0), 24)
    assert torch.isfinite(coverage(vertices, faces, inside)).all()
    assert (coverage(vertices, faces[:0], inside) == 0).all()


def test_edges_know_their_faces() -> None:
    vertices, faces = torus()
    edges = mesh_edges(faces, len(vertices))
    assert len(edges.ends) == 3 * len(faces) // 2
    assert len(edges.pairs()) == len(edges.ends)
    for edge in (0, 57, len(edges.ends) - 1):
        for side in edges.sides[edges.starts[edge] : edges.starts[edge + 1]].tolist():
            assert set(edges.ends[edge].tolist()) < set(faces[side // 2].tolist())
    assert len(mesh_edges(faces[:1], len(vertices)).pairs()) == 0
