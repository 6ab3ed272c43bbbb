"""Views in words."""

import math

import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.guidance.view_prompts import other_view_weights, view_names, view_prompts, view_shares


def orbit(azimuths, elevation=0.0):
    return Cameras.orbit(torch.tensor([math.radians(a) for a in azimuths]), math.radians(elevation))


def test_names_follow_the_azimuth_around():
    names = view_names(orbit([0, 44, 46, 90, 134, 136, 180, 224, 226, 270, 314, 316]))
    assert names == ["front"] * 2 + ["side"] * 3 + ["back"] * 3 + ["side"] * 3 + ["front"]


def test_from_above_the_azimuth_does_not_matter():
    assert view_names(orbit([0, 90, 180], 61)) == ["overhead"] * 3
    assert view_names(orbit([0, 90, 180], 59)) == ["front", "side", "back"]


def test_the_name_is_appended():
    assert view_prompts("a red chair", orbit([0, 180])) == ["a red chair, front view", "a red chair, back view"]


def test_shares_are_whole_at_the_words_own_views_and_half_between_them():
    shares = view_shares(orbit([0, 45, 90, 135, 180, -90, -135]))
    expected = [[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1], [0, 1, 0], [0, 0.5, 0.5]]
    assert torch.allclose(shares[:, :3], torch.tensor(expected), atol=1e-5)
    assert torch.equal(shares[:, 3], torch.zeros(7))


def test_shares_and_weights_are_continuous_all_around_where_names_jump():
    cameras = orbit(torch.arange(-1800, 1801).div(10).tolist(), 15)
    for values in (view_shares(cameras), other_view_weights(cameras)):
        assert values.diff(dim=0).abs().max() < 0.005
        assert torch.allclose(values[0], values[-1], atol=1e-4)  # behind, from the left and from the right
    assert torch.allclose(view_shares(cameras).sum(1), torch.ones(3601))
    assert len(set(view_names(cameras))) == 3  # negative control: words do jump


def test_overhead_takes_over_gradually():
    shares = torch.cat([view_shares(orbit([30], elevation)) for elevation in (49, 60, 71, 89)])
    assert shares[:, 3].tolist() == pytest.approx([0, 0.5, 1, 1], abs=1e-4)
    assert torch.allclose(shares.sum(1), torch.ones(4))


def test_the_weights_of_other_views_are_the_authors():
    """Read off f(r) = a exp(-b r) + c with (4, 0.5, -2.426) in front, and (1, 0.5, -0.606), (1, 0.5, 0.967) behind."""
    weights = other_view_weights(orbit([0, 45, 90, 135, 180]))
    front = [0.0, 4 * math.exp(-0.25) - 2.426, 1.574, math.exp(-0.25) + 0.967, 1.967]
    side = [1.574, 4 * math.exp(-0.25) - 2.426, 0.0, math.exp(-0.25) - 0.606, 0.394]
    assert torch.allclose(weights, -torch.tensor([front, side]).T, atol=1e-3)
    assert (weights <= 0).all()
    assert torch.allclose(other_view_weights(orbit([180], 80)), torch.zeros(1, 2))  # from above there is no side
