"""The azimuth is read off real pictures, and a wrong camera is noticed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.toybox.captions import Description, Item
from distill3d.toybox.pictures import pack, picture
from distill3d.toybox.pose import azimuth_error, read_azimuth
from distill3d.toybox.world import make_toy

ELEVATION = math.radians(15)
TURNS = torch.arange(6) * (2 * math.pi / 6) + 0.4


def pictures(category, color, azimuth):
    cameras = Cameras.orbit(azimuth, ELEVATION, size=64)
    poses, lenses = cameras.camera_to_world.double().numpy(), cameras.intrinsics.double().numpy()
    toys = [pack(make_toy(Description(Item(category, color)), 100 + i)) for i in range(len(azimuth))]
    shown = torch.from_numpy(np.stack([picture(t, p, k, 64) for t, p, k in zip(toys, poses, lenses, strict=True)]))
    shown[..., :3] += 0.5 * (1 - shown[..., 3:])
    return shown


@pytest.mark.parametrize(
    ("category", "color"), [("car", "gray"), ("mug", "green"), ("duck", "yellow"), ("chair", "red")]
)
def test_the_azimuth_is_read_and_a_turned_camera_is_noticed(category, color):
    read = read_azimuth(pictures(category, color, TURNS), category, color, ELEVATION, toys=10, turns=24)
    for turn, low, high in ((0, 0, 12), (90, 75, 105), (180, 165, 181)):
        off = torch.rad2deg(azimuth_error(read, TURNS + math.radians(turn)).median())
        assert low <= float(off) < high


def test_softness_and_grain_do_not_hide_it():
    shown = pictures("car", "gray", TURNS)
    soft = torch.nn.functional.avg_pool2d(shown.permute(0, 3, 1, 2), 5, 1, 2).permute(0, 2, 3, 1)
    rough = soft + 0.08 * torch.randn(soft.shape, generator=torch.Generator().manual_seed(0))
    read = read_azimuth(rough, "car", "gray", ELEVATION, toys=10, turns=24)
    assert float(torch.rad2deg(azimuth_error(read, TURNS)).median()) < 15


def test_a_picture_without_a_front_is_read_at_chance():
    """Balls look the same from all around: what is read of them as cars has nothing to do with the camera."""
    read = read_azimuth(pictures("sphere", "gray", TURNS), "car", "gray", ELEVATION, toys=6, turns=24)
    assert float(torch.rad2deg(azimuth_error(read, TURNS)).mean()) > 40


def test_angles_are_compared_around_the_circle():
    read, true = torch.tensor([3.1, 0.1, -3.0, 0.0]), torch.tensor([-3.1, 6.3, 3.0, 3.1416])
    torch.testing.assert_close(
        azimuth_error(read, true), torch.tensor([0.0832, 0.0832, 0.2832, 3.1416]), atol=1e-3, rtol=0
    )
