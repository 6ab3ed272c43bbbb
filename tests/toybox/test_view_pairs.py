"""Pairs of pictures of a toy: the given one nearly where the prior has it, the asked one exactly there."""

import numpy as np
import pytest
import torch

from distill3d.toybox.pictures import pack, picture
from distill3d.toybox.view_pairs import make_view_pairs, view_pair_stream


@pytest.fixture(scope="module")
def pairs():
    return make_view_pairs(3, 0, 12, 64)


def plain(toy, camera, light):
    """What the camera sees of the toy, over grey."""
    pose, lens = camera.camera_to_world[0].double().numpy(), camera.intrinsics[0].double().numpy()
    seen = picture(pack(toy), pose, lens, 64, light)
    seen[..., :3] += 0.5 * (1 - seen[..., 3:])
    return torch.from_numpy(seen)


def test_the_asked_picture_is_exact_and_the_given_one_a_little_off(pairs):
    for i, toy in enumerate(pairs.toys):
        assert torch.allclose(pairs.asked[i], plain(toy, pairs.cameras[i], float(pairs.lights[i])), atol=1e-5)
    off = [
        float((pairs.given[i, ..., 3] - plain(toy, pairs.references[i], 1.0)[..., 3]).abs().mean())
        for i, toy in enumerate(pairs.toys)
    ]
    elsewhere = [
        float((pairs.given[i, ..., 3] - plain(toy, pairs.cameras[i], 1.0)[..., 3]).abs().mean())
        for i, toy in enumerate(pairs.toys)
    ]
    assert 0 < np.mean(off) < 0.7 * np.mean(elsewhere)


def test_given_pictures_are_taken_as_people_take_them(pairs):
    degrees = torch.rad2deg(pairs.references.elevation)
    assert -10.01 < float(degrees.min()) < float(degrees.max()) < 60.01
    assert all(said in toy.captions for said, toy in zip(pairs.captions, pairs.toys, strict=True))


def test_a_batch_is_always_the_same(pairs):
    (again,) = list(view_pair_stream(3, 0, 1, 12, 64, 0))
    assert torch.equal(again.given, pairs.given)
    assert torch.equal(again.asked, pairs.asked)
    assert not torch.equal(make_view_pairs(3, 1, 12, 64).given, pairs.given)
