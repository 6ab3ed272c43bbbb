"""The novel-view model that is shipped: it finds out what a picture shows and from where, and draws the other sides."""

import math

import numpy as np
import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.diffusion.pixel_novel_view import PixelNovelView
from distill3d.diffusion.sampling import sample
from distill3d.toybox.captions import Description, Item
from distill3d.toybox.framing import Frame, find_frame, seen_in_frame
from distill3d.toybox.pictures import pack
from distill3d.toybox.pose import azimuth_error
from distill3d.toybox.world import make_toy

TOYS = (("duck", "cyan", 0.6), ("car", "red", -2.2))
ELEVATION, DISTANCE, FOV = 0.35, 2.84, math.radians(45)


def camera(azimuth):
    return Cameras.orbit(azimuth, ELEVATION, DISTANCE, FOV, 64)


@pytest.fixture(scope="module")
def prior():
    return PixelNovelView()


@pytest.fixture(scope="module")
def references(prior):
    """Of toys that no training met, framed as photographs are."""
    found = []
    for kind, color, azimuth in TOYS:
        toy = pack(make_toy(Description(Item(kind, color)), 991))
        picture = seen_in_frame(toy, find_frame(toy, camera(azimuth)), camera(azimuth), 1.0)
        found.append(prior.remember(torch.from_numpy(picture), camera(0.0)))
    return found


def test_it_says_what_it_sees_and_from_which_side(references):
    for reference, (kind, color, azimuth) in zip(references, TOYS, strict=True):
        assert reference.sight.caption == f"a {color} {kind}"
        off = azimuth_error(torch.tensor(reference.sight.azimuth), torch.tensor(azimuth))
        assert float(off) < math.radians(20)
        others = [a for _, _, a in TOYS if a != azimuth]
        assert all(float(azimuth_error(torch.tensor(reference.sight.azimuth), torch.tensor(a))) > 0.35 for a in others)


@torch.no_grad()
def test_it_draws_the_other_sides(prior, references):
    """Nearer to the truth than the given picture is, and than what it draws for the camera across."""
    turn = 2.0
    for reference, (kind, color, azimuth) in zip(references, TOYS, strict=True):
        toy = pack(make_toy(Description(Item(kind, color)), 991))
        truth = over_grey(seen_in_frame(toy, Frame(np.zeros(3), 1.0), camera(azimuth + turn), 1.0))
        given = over_grey(seen_in_frame(toy, Frame(np.zeros(3), 1.0), camera(azimuth), 1.0))
        drawn, across = (drawing(prior, reference, t) for t in (turn, turn + math.pi))
        error, same, wrong = (float((p - truth).square().mean()) for p in (drawn, given, across))
        assert error < 0.6 * same
        assert error < 0.8 * wrong


def drawing(prior, reference, turn):
    condition = prior.seen_from(reference, camera(turn))
    seed = torch.Generator().manual_seed(0)
    return sample(prior, condition, steps=8, cfg_scale=1.0, generator=seed)[0, ..., :3].clamp(0, 1)


def over_grey(rgba):
    return torch.from_numpy(rgba[..., :3] + 0.5 * (1 - rgba[..., 3:]))
