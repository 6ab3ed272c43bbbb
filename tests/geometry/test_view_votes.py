"""Views of a ball that say which half is meant: what space makes of them."""

from __future__ import annotations

import math

import torch

from distill3d.core.cameras import Cameras
from distill3d.geometry.mask_lifting import surface_points
from distill3d.geometry.view_votes import hidden, otsu, surface_scores, volume_of

RADIUS, CELL = 0.6, 0.05


def ball():
    """Eight views of a ball: cameras, points [V, H, W, 3], depth [V, H, W] and what is seen."""
    turn = torch.arange(8) * (math.pi / 4)
    cameras = Cameras.orbit(turn, torch.tensor([0.5, -0.5] * 4), 2.8, 0.7, 96)
    origins, directions = cameras.rays()
    half = (origins * directions).sum(-1)
    inside = half.square() - origins.square().sum(-1) + RADIUS**2
    depth = torch.where(inside > 0, -half - inside.clamp(min=0).sqrt(), 0.0)
    return cameras, surface_points(depth[..., None], cameras), depth, inside > 0


def test_the_threshold_lies_between_two_heaps():
    generator = torch.Generator().manual_seed(0)
    low, high = torch.randn(900, generator=generator), 8 + torch.randn(100, generator=generator)
    found = otsu(torch.cat([low, high]))
    assert float(low.max()) - 0.5 < found < float(high.min()) + 0.5
    assert otsu(torch.cat([low, high]) * 3 + 5) / 3 - 5 / 3 - found < 0.1
    assert otsu(torch.full((9,), 2.0)) == 2.0  # of one heap nothing is above


def test_a_cells_score_is_the_mean_over_the_views_that_see_it():
    """One cell is seen by two views, by the first three times as often; another by one view alone."""
    points = torch.tensor([[[[0.01, 0.01, 0.01], [0.02, 0.02, 0.02], [0.03, 0.03, 0.03], [0.51, 0.0, 0.0]]],
                           [[[0.01, 0.01, 0.02], [9.0, 9.0, 9.0], [9.0, 9.0, 9.0], [9.0, 9.0, 9.0]]]])  # fmt: skip
    scores = torch.tensor([[[1.0, 1.0, 1.0, 4.0]], [[3.0, 7.0, 7.0, 7.0]]])
    seen = torch.tensor([[[True, True, True, True]], [[True, False, False, False]]])
    cells, found = surface_scores(points, scores, seen, 0.05)
    assert dict(zip(map(tuple, cells.tolist()), found.tolist(), strict=True)) == {(0, 0, 0): 2.0, (10, 0, 0): 4.0}


def test_the_volume_of_the_upper_half_is_the_upper_half():
    cameras, points, depth, seen = ball()
    scores = (points[..., 2] > 0).float()
    cells, mean = surface_scores(points, scores, seen, CELL)
    chosen = mean > otsu(mean)
    volume = volume_of(cells, chosen, CELL, 0.1, depth, seen, cameras)
    radius = volume.norm(dim=-1)
    assert float(volume[:, 2].min()) > -2 * CELL
    assert float(radius.max()) < RADIUS + 0.1 + 2 * CELL
    assert int((radius < 0.3).sum()) > 0.7 * (0.5 * 4 / 3 * math.pi * 0.3**3) / CELL**3  # the inside, too
    lower = volume_of(cells, ~chosen, CELL, 0.1, depth, seen, cameras)
    together = {tuple(p) for p in (volume / CELL).floor().int().tolist()} & {
        tuple(p) for p in (lower / CELL).floor().int().tolist()
    }
    assert not together  # every cell has one owner
    assert float(lower[:, 2].max()) < 2 * CELL  # negative control


def test_what_is_hidden_lies_behind_the_surface_in_every_view():
    cameras, _, depth, seen = ball()
    points = torch.tensor([[0.0, 0.0, 0.0], [0.3, 0.2, 0.1], [0.0, 0.0, 0.9], [0.8, 0.0, 0.0], [0.0, 0.0, 50.0]])
    assert hidden(points, depth, seen, cameras).tolist() == [True, True, False, False, False]
