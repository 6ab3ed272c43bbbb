"""The attention over views that is shipped: a view draws on the others of its group, and samples of a group agree."""

import numpy as np
import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.diffusion.multi_view import MultiViewPrior
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.sdedit import edit
from distill3d.toybox.captions import Description, Item
from distill3d.toybox.judge import Judge
from distill3d.toybox.pictures import views
from distill3d.toybox.train_multi_view import mixing
from distill3d.toybox.view_groups import make_groups
from distill3d.toybox.world import make_toy

KINDS = {"mug": "purple", "table": "blue", "lamp": "red", "hat": "purple"}


@pytest.fixture(scope="module")
def joint():
    return MultiViewPrior()


@pytest.fixture(scope="module")
def alone():
    return DiffusionPrior()


@torch.no_grad()
def errors(prior, batch, order, share):
    """Mean squared error of the clean picture where the groups' pictures stand in this order; colours are left open."""
    said = [caption for caption in batch.open_captions for _ in range(4)]
    x0, t = prior.encode(batch.pictures[order]), torch.full((len(order),), prior.schedule.fraction(share))
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(3))[order]
    condition = prior.condition([said[i] for i in order.tolist()], batch.cameras, light=batch.views[:, -1])
    x_t = prior.schedule.add_noise(x0, noise, t)
    return float((prior.denoise(x_t, t, condition).clean - x0).square().mean())


@pytest.mark.parametrize(("share", "most"), [(0.9, 0.8), (0.97, 0.9)])
def test_views_of_one_toy_say_more_than_views_of_others(joint, alone, share, most):
    batch = make_groups(31_000, 0, 8, 64, one_orbit=True)
    straight, mixed = torch.arange(32), mixing(8, 4)
    own, others = (errors(joint, batch, order, share) for order in (straight, mixed))
    separate, separate_mixed = (errors(alone, batch, order, share) for order in (straight, mixed))
    assert own < most * others
    assert own < most * separate
    assert separate_mixed == pytest.approx(separate, rel=1e-4)  # the order is nothing to a prior of one view at a time


def drawn(prior, toys, cameras):
    """What comes of the toys' pictures under noise of level 0.85, where nobody names the colour; the colours' names."""
    condition = prior.condition([f"a {kind}" for kind in KINDS for _ in range(4)], cameras, 0.0)
    seeds = [torch.Generator().manual_seed(i) for i in range(len(toys))]
    return np.array(Judge.load().judge(edit(prior, toys, condition, 0.85, 8, 1.0, generator=seeds)).color_names)


def test_sampled_views_find_and_share_a_colour_that_nobody_named(joint, alone):
    cameras = Cameras.orbit((torch.arange(4) * (torch.pi / 2)).repeat(len(KINDS)), size=64)
    toys = [make_toy(Description(Item(kind, color)), 3) for kind, color in KINDS.items()]
    pictures = torch.from_numpy(np.stack([view.rgba for toy in toys for view in views(toy, cameras[:4], light=0.0)]))
    pictures[..., :3] += 0.5 * (1 - pictures[..., 3:])
    wanted = np.repeat(list(KINDS.values()), 4)
    together, apart = (drawn(prior, pictures, cameras) == wanted for prior in (joint, alone))
    assert together.mean() > 0.6
    assert together.mean() > apart.mean() + 0.2
