"""A mask on one view of a ball: the points that it means, and how thick the ball is behind them."""

from __future__ import annotations

import math

import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.geometry.mask_lifting import lifted, surface_points, thickness

RADIUS, SIZE = 0.5, 96


def seen(azimuth: float) -> tuple[Cameras, torch.Tensor]:
    """A camera, and the depth of the ball from there, [H, W], 0 beside it."""
    camera = Cameras.orbit(azimuth, 0.2 * math.cos(azimuth), 2.8, 0.7, SIZE)
    origins, directions = camera.rays()
    half = (origins * directions).sum(-1)
    inside = half.square() - origins.square().sum(-1) + RADIUS**2
    return camera, torch.where(inside > 0, -half - inside.clamp(min=0).sqrt(), 0.0)[0]


def chords(camera: Cameras) -> torch.Tensor:
    origins, directions = camera.rays()
    inside = (origins * directions).sum(-1).square() - origins.square().sum(-1) + RADIUS**2
    return 2 * inside.clamp(min=0).sqrt()[0]


def test_depth_gives_points_of_the_surface():
    camera, depth = seen(0.0)
    points = surface_points(depth[None, ..., None], camera)[0][depth > 0]
    assert points.norm(dim=-1).sub(RADIUS).abs().max() < 1e-5


def test_the_other_side_says_how_thick_it_is():
    (camera, depth), (other, behind) = seen(0.0), seen(math.pi)
    back = surface_points(behind[None, ..., None], other)[0][behind > 0]
    found, true = thickness(depth, camera, back), chords(camera)
    middle = true > 0.5  # at the rim no camera sees the back
    assert int(middle.sum()) > 300
    assert (found - true)[middle].abs().max() < 0.08
    assert float(thickness(depth, camera, back[back[:, 1] > 0])[:, : SIZE // 3].max()) == 0  # nothing was seen there


def test_the_points_under_a_mask_go_from_the_front_to_the_back():
    camera, depth = seen(0.0)
    true = chords(camera)
    left = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    left[:, : SIZE // 2] = True
    points = lifted(left & (depth > 0), depth, true, camera, 0.02)
    assert points.norm(dim=-1).max() < RADIUS + 0.02
    assert points[:, 1].max() < 0.01  # the camera looks along -x: left of it is -y
    assert points[:, 0].min() < -0.4
    assert points[:, 0].max() > 0.4
    shell = lifted(left & (depth > 0), depth, torch.zeros_like(depth), camera, 0.02)
    assert shell[:, 0].min() > -0.1  # negative control: without the depth behind it, the front alone
    assert len(shell) < len(points) / 4


def test_a_gap_counts_as_thickness():
    camera, depth = seen(0.0)
    wall = torch.stack(torch.meshgrid(torch.tensor([-2.0]), *[torch.linspace(-1, 1, 200)] * 2, indexing="ij"), -1)
    found = thickness(depth, camera, wall.reshape(-1, 3))
    assert float(found[SIZE // 2, SIZE // 2]) == pytest.approx(2.5, abs=0.1)
