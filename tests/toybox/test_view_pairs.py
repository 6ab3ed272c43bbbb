"""Pairs of pictures of a toy: the first framed as a photograph is, the second where that frame's world has it."""

import math

import numpy as np
import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.files.cutout import recentred
from distill3d.toybox.captions import Description, Item
from distill3d.toybox.pictures import pack
from distill3d.toybox.view_pairs import Frame, find_frame, make_view_pairs, seen_in_frame, view_pair_stream
from distill3d.toybox.world import make_toy


@pytest.fixture(scope="module")
def pairs():
    return make_view_pairs(3, 0, 12, 64)


def borders(alpha):
    """Empty pixels left, right, above and below."""
    rows, columns = torch.nonzero(alpha.any(1))[:, 0], torch.nonzero(alpha.any(0))[:, 0]
    size = len(alpha)
    return int(columns[0]), size - 1 - int(columns[-1]), int(rows[0]), size - 1 - int(rows[-1])


def test_the_given_picture_is_framed_and_the_asked_one_is_not(pairs):
    for alpha in pairs.given[..., 3] > 0.02:
        left, right, above, below = borders(alpha)
        assert abs(left - right) <= 2
        assert abs(above - below) <= 2
        assert 64 - min(left + right, above + below) in range(41, 57)  # 0.75 of 64 is 48; shares vary a little
    skew = [max(abs(b[0] - b[1]), abs(b[2] - b[3])) for b in (borders(a) for a in pairs.asked[..., 3] > 0.02)]
    assert max(skew) > 2


def test_framing_a_framed_picture_changes_nothing():
    toy, camera = pack(make_toy(Description(Item("duck", "yellow")), 3)), Cameras.orbit(0.7, 0.4, 2.84, 0.785, 64)
    picture = seen_in_frame(toy, find_frame(toy, camera), camera, 1.0, 4)
    straight = picture.copy()
    straight[..., :3] /= np.maximum(picture[..., 3:], 1e-6)
    again = recentred((straight.clip(0, 1) * 255).round().astype(np.uint8), 64, 0.75)
    raw = seen_in_frame(toy, Frame(np.zeros(3), 1.0), camera, 1.0, 4)
    assert np.abs(again - picture).mean() < 0.3 * np.abs(raw - picture).mean()


def test_the_second_camera_stands_in_the_frames_world():
    """Asked for from where the given picture was taken, it is that picture; from another frame it would not be."""
    toy, camera = pack(make_toy(Description(Item("mug", "red")), 5)), Cameras.orbit(2.0, 0.2, 2.84, 0.785, 64)
    frame = find_frame(toy, camera)
    same = seen_in_frame(toy, frame, Cameras.orbit(2.0, 0.2, 2.84, 0.785, 64), 1.0)
    assert np.array_equal(same, seen_in_frame(toy, frame, camera, 1.0))
    unframed = seen_in_frame(toy, Frame(np.zeros(3), 1.0), camera, 1.0)
    assert np.abs(unframed - same).mean() > 0.01


def test_given_pictures_are_taken_as_people_take_them(pairs):
    degrees = torch.rad2deg(pairs.references.elevation)
    assert -10.01 < float(degrees.min()) < float(degrees.max()) < 60.01
    assert all(said in toy.captions for said, toy in zip(pairs.captions, pairs.toys, strict=True))


def test_a_batch_is_always_the_same_and_held_out_pairs_stay_out(pairs):
    (again,) = list(view_pair_stream(3, 0, 1, 12, 64, 0))
    assert torch.equal(again.given, pairs.given)
    assert torch.equal(again.asked, pairs.asked)
    assert not torch.equal(make_view_pairs(3, 1, 12, 64).given, pairs.given)


def test_a_camera_that_sees_nothing_is_said():
    toy = pack(make_toy(Description(Item("cube", "red")), 0))
    away = Cameras.orbit(0.0, 0.0, 3.0, math.radians(45), 16)
    away.camera_to_world[0, :3, 3] = torch.tensor([0.0, 40.0, 0.0])
    with pytest.raises(ValueError, match="sees nothing"):
        find_frame(toy, away)
