"""The instruction model that is shipped: it does what it is told, keeps the rest, and without a word does nothing."""

import numpy as np
import pytest
import torch

from distill3d.diffusion.guided import branches
from distill3d.diffusion.instruct import instructed
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.sdedit import edit
from distill3d.files.picture_reading import read_picture
from distill3d.files.pictures import write_png
from distill3d.run.image import Asked
from distill3d.run.image_edit import instruct
from distill3d.run.image_files import straight
from distill3d.toybox.captions import Description, Item
from distill3d.toybox.dataset import random_cameras
from distill3d.toybox.edit_pairs import draw_pairs
from distill3d.toybox.instructions import recolored
from distill3d.toybox.judge import Judge
from distill3d.toybox.world import make_toy

CHANGES = (
    ("mushroom", "red", "blue"), ("cube", "red", "blue"), ("cone", "green", "purple"), ("mug", "blue", "red"),
    ("sphere", "yellow", "blue"), ("car", "green", "red"), ("cylinder", "purple", "green"), ("chair", "blue", "red"),
)  # fmt: skip
STEPS = 8


@pytest.fixture(scope="module")
def prior():
    return DiffusionPrior(DiffusionPrior.Config(model="toybox-instruct"))


@pytest.fixture(scope="module")
def pairs():
    edits = [recolored(make_toy(Description(Item(kind, before)), 7), after) for kind, before, after in CHANGES]
    cameras = random_cameras(np.random.default_rng(5), len(edits), 64)
    return draw_pairs(edits, [e.wordings[0] for e in edits], cameras, np.ones(len(edits)))


def made(prior, pairs, text_scale, said=None):
    condition = prior.condition(said or pairs.instructions, pairs.cameras, image=pairs.before)
    seeds = [torch.Generator().manual_seed(i) for i in range(len(CHANGES))]
    conditions, scales = instructed(condition, text_scale, 1.0)
    return edit(prior, pairs.before, conditions, 1.0, STEPS, scales, generator=seeds)


def named(pictures, side):
    colors = Judge.load().judge(pictures).color_names
    return sum(color == change[side] for color, change in zip(colors, CHANGES, strict=True))


def test_an_instruction_changes_the_colour_in_the_judges_eyes(prior, pairs):
    told = made(prior, pairs, 1.5)
    assert named(told, 2) >= 6
    assert named(told, 1) <= 1
    covered, wanted = told[..., 3] > 0.5, pairs.before[..., 3] > 0.5
    overlap = (covered & wanted).sum((1, 2)) / (covered | wanted).sum((1, 2))
    assert overlap.mean() > 0.8
    assert (covered.roll(1, 0) & wanted).sum() / (covered.roll(1, 0) | wanted).sum() < 0.7  # other toys would not do


def test_without_a_text_the_picture_stays(prior, pairs):
    still = made(prior, pairs, 0.0)
    assert named(still, 1) >= 6
    assert named(still, 2) <= 1
    away = (still - pairs.after).square().mean()
    assert (still - pairs.before).square().mean() < 0.4 * away


def test_each_branch_hears_what_it_is_told(prior, pairs):
    condition = prior.condition(pairs.instructions, pairs.cameras, image=pairs.before)
    x0, t = prior.encode(pairs.after), torch.full((len(CHANGES),), 950)
    x_t = prior.schedule.add_noise(x0, torch.randn(x0.shape, generator=torch.Generator().manual_seed(0)), t)
    blind = condition.unconditional.unconditional
    told, seen, nothing = (p.clean for p in branches(prior, x_t, t, [condition, condition.unconditional, blind]))
    errors = [float((clean - x0).square().mean()) for clean in (told, seen, nothing)]
    assert errors[0] < 0.7 * min(errors[1:])


def test_image_edit_takes_an_instruction(pairs, tmp_path):
    write_png(straight(pairs.before[1:2], 0.5)[0], tmp_path / "cube.png")
    asked = Asked("make it blue", steps=STEPS, cfg_scale=1.5, model="toybox-instruct")
    blue = read_picture(instruct(tmp_path / "cube.png", asked, tmp_path / "blue.png", image_scale=1.0))
    body = blue[blue[..., 3] > 200][:, :3].astype(float).mean(0)
    was = read_picture(tmp_path / "cube.png")
    before = was[was[..., 3] > 200][:, :3].astype(float).mean(0)
    assert body[2] > body[0] + 40
    assert before[0] > before[2] + 40
