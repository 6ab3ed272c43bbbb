"""Random backdrops and cuts."""

import pytest
import torch

from distill3d.diffusion.backdrops import KINDS, blurred, cut, over, random_backdrops, random_windows


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_picture_and_follows_the_seed(kind):
    drawn = random_backdrops(6, 24, generator(), (kind,))
    assert drawn.shape == (6, 3, 24, 24)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert torch.equal(drawn, random_backdrops(6, 24, generator(), (kind,)))
    assert not torch.equal(drawn, random_backdrops(6, 24, generator(1), (kind,)))
    varies = drawn.flatten(2).std(2).mean()
    assert varies < 1e-6 if kind == "plain" else varies > 0.01


def test_the_whole_window_is_the_picture_and_half_of_it_is_its_middle():
    pictures = torch.rand(2, 3, 8, 8, generator=generator())
    whole = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).expand(2, 2, 3)
    assert torch.allclose(cut(pictures, whole, 8), pictures, atol=1e-6)
    middle = torch.tensor([[0.5, 0, 0], [0, 0.5, 0]]).expand(2, 2, 3)
    assert torch.allclose(cut(pictures, middle, 4), pictures[:, :, 2:6, 2:6], atol=1e-6)


def test_beyond_the_border_there_is_only_the_backdrop():
    rgba, backdrop = torch.ones(1, 4, 8, 8), torch.full((1, 3, 8, 8), 0.25)
    wide = cut(rgba, torch.tensor([[[2.0, 0, 0], [0, 2.0, 0]]]), 8)
    shown = over(wide[:, :3], wide[:, 3:], backdrop)
    assert torch.allclose(shown[..., 0, :], torch.tensor(0.25))
    assert torch.allclose(shown[..., 3:5, 3:5], torch.tensor(1.0))


def test_windows_keep_to_their_limits():
    windows = random_windows(500, generator(), (0.8, 1.3), 0.2)
    side, centre = windows[:, 0, 0], windows[:, :, 2]
    assert torch.equal(side, windows[:, 1, 1])
    assert 0.8 <= side.min() < 0.82
    assert 1.28 < side.max() <= 1.3
    assert 0.19 < centre.abs().max() <= 0.2


def test_a_blur_keeps_the_mean_and_each_picture_has_its_own():
    pictures = torch.zeros(3, 1, 31, 31)
    pictures[:, :, 15, 15] = 1
    soft = blurred(pictures, torch.tensor([0.0, 1.0, 3.0]))
    assert torch.equal(soft[0], pictures[0])
    assert torch.allclose(soft.sum((1, 2, 3)), torch.ones(3), atol=1e-5)
    offsets = torch.arange(31) - 15.0
    assert (soft[1, 0].sum(0) * offsets**2).sum().item() == pytest.approx(1.0, rel=0.1)
    assert soft[2].max() < soft[1].max() < 1
