"""Toys framed as photographs are: in the middle, filling a share of the picture, whatever the camera's lens."""

import numpy as np
import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.files.cutout import recentred
from distill3d.toybox.captions import Description, Item
from distill3d.toybox.framing import Frame, find_frame, seen_in_frame
from distill3d.toybox.pictures import pack
from distill3d.toybox.world import make_toy

CAMERA = Cameras.orbit(0.7, 0.4, 2.84, 0.785, 64)


@pytest.fixture(scope="module")
def toy():
    return pack(make_toy(Description(Item("duck", "yellow")), 3))


def borders(alpha):
    """Empty pixels left, right, above and below."""
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    return columns[0], len(alpha) - 1 - columns[-1], rows[0], len(alpha) - 1 - rows[-1]


@pytest.mark.parametrize("camera", [CAMERA, CAMERA.zoomed(0.8, (0.1, -0.15)), CAMERA.zoomed(1.3, (0.0, 0.2))])
def test_a_framed_toy_lies_in_the_middle_and_fills_its_share(toy, camera):
    left, right, above, below = borders(seen_in_frame(toy, find_frame(toy, camera), camera, 1.0)[..., 3] > 0.02)
    assert abs(left - right) <= 2
    assert abs(above - below) <= 2
    assert 64 - min(left + right, above + below) in (47, 48, 49, 50)
    free = borders(seen_in_frame(toy, Frame(np.zeros(3), 1.0), camera, 1.0)[..., 3] > 0.02)
    assert max(abs(free[0] - free[1]), abs(free[2] - free[3])) > 2


def test_framing_a_framed_picture_changes_nothing(toy):
    picture = seen_in_frame(toy, find_frame(toy, CAMERA), CAMERA, 1.0, 4)
    straight = picture.copy()
    straight[..., :3] /= np.maximum(picture[..., 3:], 1e-6)
    again = recentred((straight.clip(0, 1) * 255).round().astype(np.uint8), 64, 0.75)
    raw = seen_in_frame(toy, Frame(np.zeros(3), 1.0), CAMERA, 1.0, 4)
    assert np.abs(again - picture).mean() < 0.3 * np.abs(raw - picture).mean()


def test_a_camera_that_sees_nothing_is_said(toy):
    away = Cameras(CAMERA.camera_to_world.clone(), CAMERA.intrinsics, 64, 64)
    away.camera_to_world[0, :3, 3] = torch.tensor([0.0, 40.0, 0.0])
    with pytest.raises(ValueError, match="sees nothing"):
        find_frame(toy, away)
