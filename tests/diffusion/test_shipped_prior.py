"""Editing and filling with the embedded prior as it is shipped."""

import math

import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.diffusion.inversion import invert
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.repaint import inpaint
from distill3d.diffusion.sampling import sample
from distill3d.diffusion.sdedit import edit
from distill3d.toybox.captions import Description, Item
from distill3d.toybox.judge import Judge
from distill3d.toybox.pictures import pack, picture
from distill3d.toybox.world import make_toy
from tests.diffusion.walks import rms, seeded

CAMERA = Cameras.orbit(torch.tensor([0.6]), math.radians(15), size=64)
HALF = (torch.arange(64) < 32).expand(1, 64, 64)  # the left half is kept


@pytest.fixture(scope="module")
def prior():
    return DiffusionPrior(DiffusionPrior.Config())


@pytest.fixture(scope="module")
def mushroom():
    """A real picture of a red mushroom, [1, 64, 64, 4], colour over grey."""
    pose, lens = CAMERA.camera_to_world[0].double().numpy(), CAMERA.intrinsics[0].double().numpy()
    shown = torch.from_numpy(picture(pack(make_toy(Description(Item("mushroom", "red")), 1)), pose, lens, 64, 1.0))
    return torch.cat([shown[..., :3] + 0.5 * (1 - shown[..., 3:]), shown[..., 3:]], -1)[None]


def test_sdedit_recolours_a_toy_and_keeps_what_it_is_told_to(prior, mushroom):
    judge, blue = Judge.load(), prior.condition("a blue mushroom", CAMERA)
    assert judge.judge(mushroom).color_names == ["red"]
    little, much = (edit(prior, mushroom, blue, s, 10, 3.0, generator=seeded(0)) for s in (0.2, 0.95))
    assert rms(little - mushroom) < 0.8 * rms(much - mushroom)
    assert judge.judge(much).color_names == ["blue"]
    half = edit(prior, mushroom, blue, 0.95, 10, 3.0, keep_mask=HALF, generator=seeded(0))
    assert torch.equal(half[:, :, :32], mushroom[:, :, :32])
    assert rms((half - mushroom)[:, :, 32:]) > 0.05


def test_repaint_fills_a_half_that_it_has_not_seen(prior, mushroom):
    told = prior.condition("a red mushroom", CAMERA)
    hidden = torch.where(HALF[..., None], mushroom, torch.nan)
    made = inpaint(prior, hidden, HALF, told, 10, 2.0, jump=2, repeats=2, generator=seeded(0))
    assert torch.equal(made[:, :, :32], mushroom[:, :, :32])
    grey = torch.tensor([0.5, 0.5, 0.5, 0.0])
    right = slice(32, None)
    assert rms((made - mushroom)[:, :, right]) < 0.65 * rms((grey - mushroom)[:, :, right])


def test_a_sampled_picture_comes_back_from_its_noise(prior):
    told = prior.condition("a red mushroom", CAMERA)
    one = sample(prior, told, 10, 1.0, generator=seeded(0))
    back = sample(prior, told, 10, 1.0, start=invert(prior, one, told, 10))
    other = sample(prior, told, 10, 1.0, generator=seeded(1))
    assert rms(back - one) < 0.6 * rms(other - one)
