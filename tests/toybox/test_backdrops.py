"""Toys before plain walls, and the way back to colour over grey with coverage."""

from __future__ import annotations

import numpy as np
import torch

from distill3d.toybox.backdrops import before, over_grey, random_backdrops
from distill3d.toybox.dataset import make_batch


def test_walls_are_grey_white_or_any_colour():
    walls = random_backdrops(np.random.default_rng(0), 4000)
    grey, white = ((walls == value).all(1).float().mean() for value in (0.5, 1.0))
    assert abs(grey - 0.5) < 0.03
    assert abs(white - 0.2) < 0.03
    assert 0 <= walls.min() < walls.max() <= 1


def test_the_wall_shows_where_the_toy_does_not():
    pictures = torch.zeros(1, 2, 2, 4)
    pictures[..., :3] = 0.5
    pictures[0, 0, 0] = torch.tensor([0.9, 0.1, 0.2, 1.0])
    wall = torch.tensor([[0.2, 1.0, 0.6]])
    shown = before(pictures, wall)
    assert torch.equal(shown[0, 0, 0], torch.tensor([0.9, 0.1, 0.2]))
    torch.testing.assert_close(shown[0, 1, 1], wall[0])


def test_a_toy_before_another_wall_comes_back_over_grey():
    truth = make_batch(3, 0, 4, 64, category="cube").pictures
    wall = torch.tensor([[0.1, 0.9, 0.3]]).expand(4, 3)  # no toy of this batch has this colour
    back = over_grey(before(truth, wall))
    inside = (truth[..., 3] == 1) | (truth[..., 3] == 0)  # edges are half wall
    assert (back[..., 3] == truth[..., 3])[inside].float().mean() > 0.999
    assert (back - truth).abs()[inside].mean() < 1e-3
    assert (before(truth, wall) - truth[..., :3]).abs().mean() > 0.1
