"""Marching tetrahedra: closed surfaces, a derived table, finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from distill3d.geometry.tetrahedral_grid import EDGES, tetrahedral_grid
from distill3d.kernels.marching_tetrahedra import TRIANGLES, along, marching_tetrahedra

GRID = tetrahedral_grid(12)
TOPOLOGY = tuple(torch.from_numpy(a) for a in (GRID.tetrahedra, GRID.edges, GRID.tetrahedron_edges))
PLACES = torch.from_numpy(GRID.vertices)


def surface(distance: Tensor, places: Tensor = PLACES) -> tuple[Tensor, Tensor]:
    faces, crossed, share = marching_tetrahedra(places, distance, *TOPOLOGY)
    return along(places, TOPOLOGY[1][crossed], share), faces


def test_a_ball_is_closed_round_and_turned_outwards() -> None:
    vertices, faces = surface(PLACES.norm(dim=1) - 0.6)
    mesh = trimesh.Trimesh(vertices.numpy(), faces.numpy(), process=False)
    assert mesh.is_watertight
    assert mesh.euler_number == 2
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 0.6**3, rel=0.03)
    assert (vertices.norm(dim=1) - 0.6).abs().max() < 0.1 * GRID.spacing


def test_a_ring_has_its_hole() -> None:
    ring = torch.stack([PLACES[:, :2].norm(dim=1) - 0.55, PLACES[:, 2]], 1).norm(dim=1) - 0.25
    vertices, faces = surface(ring)
    mesh = trimesh.Trimesh(vertices.numpy(), faces.numpy(), process=False)
    assert mesh.is_watertight
    assert mesh.euler_number == 0


@pytest.mark.parametrize("case", range(16))
def test_each_row_of_the_table_separates_the_corners(case: int) -> None:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    signs = np.array([case >> k & 1 for k in range(4)])
    rows = [row for row in np.reshape(TRIANGLES[case], (2, 3)) if row[0] >= 0]
    cut = {e for e, (a, b) in enumerate(EDGES) if signs[a] != signs[b]}
    assert {int(e) for row in rows for e in row} == cut
    assert len(rows) == max(len(cut) - 2, 0)
    for row in rows:
        a, b, c = (corners[list(EDGES[e])].mean(0) for e in row)
        normal = np.cross(b - a, c - a)
        assert normal @ (corners[signs == 0].mean(0) - corners[signs == 1].mean(0)) > 0


def test_gradient_by_finite_differences() -> None:
    places = PLACES.double()
    distance = (places * torch.tensor([1.0, 1.2, 0.9])).norm(dim=1) - 0.6137  # no vertex on the surface
    weights = torch.randn(len(TOPOLOGY[1]), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def loss(d: Tensor, p: Tensor) -> Tensor:
        _, crossed, share = marching_tetrahedra(p, d, *TOPOLOGY)
        return (along(p, TOPOLOGY[1][crossed], share) * weights[crossed]).sum()

    leaves = [distance.clone().requires_grad_(), places.clone().requires_grad_()]
    gradients = torch.autograd.grad(loss(*leaves), leaves)
    generator = torch.Generator().manual_seed(1)
    for k in range(2):
        step = [torch.zeros_like(distance), torch.zeros_like(places)]
        step[k] = 1e-6 * torch.randn(step[k].shape, dtype=torch.float64, generator=generator)
        up, down = (loss(distance + s * step[0], places + s * step[1]) for s in (1, -1))
        assert ((up - down) / 2).item() == pytest.approx((gradients[k] * step[k]).sum().item(), rel=1e-4)


def test_nothing_and_everything_inside_give_no_faces() -> None:
    for sign in (1.0, -1.0):
        vertices, faces = surface(torch.full((len(PLACES),), sign))
        assert len(vertices) == len(faces) == 0
