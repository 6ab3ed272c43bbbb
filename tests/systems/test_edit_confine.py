"""Gaussians of a region: they may become anything but larger than it."""

from __future__ import annotations

import pytest
import torch

from distill3d.geometry.region import Region
from distill3d.renderers import GaussianRenderer
from distill3d.renderers.gaussians import GaussiansConfig, StartConfig
from distill3d.systems.edit_confine import SHAPE, Confinement, lie_in, shape_of
from distill3d.systems.edit_region import loose

UPPER = Region.parse("box:-1,-1,0,1,1,1")


@pytest.fixture
def renderer():
    start = StartConfig(count=200, radius=0.6)
    return GaussianRenderer(GaussiansConfig(start=start), torch.Generator().manual_seed(0))


def test_the_longest_axis_counts_wherever_it_points():
    means = torch.tensor([[0.0, 0.0, 0.2]]).expand(3, 3)
    upright = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    tipped = torch.tensor([[0.5**0.5, 0.5**0.5, 0.0, 0.0]])  # 90 degrees about x, which takes y to z
    scales = torch.tensor([[0.01, 0.3, 0.01], [0.01, 0.3, 0.01], [0.01, 0.1, 0.01]])
    inside = lie_in(UPPER, means, torch.cat([upright, tipped, tipped]), scales.log())
    assert inside.tolist() == [True, False, True]


def test_what_reaches_out_changes_its_colour_and_not_its_shape(renderer):
    masks, centres = loose(renderer, UPPER), UPPER.contains(renderer.means.detach())
    inside = lie_in(UPPER, *shape_of(renderer))
    assert 0 < int(inside.sum()) < int(centres.sum())
    assert all(torch.equal(masks[name], inside) for name in SHAPE)
    assert torch.equal(masks["sh_constant"], centres)
    assert torch.equal(masks["logits"], centres)


def driven_out(renderer: GaussianRenderer, confined: bool) -> torch.Tensor:
    """Which Gaussians reach out, of those that lay in the region, after steps that make them sink and grow."""
    began = lie_in(UPPER, *shape_of(renderer))
    optimizer = torch.optim.SGD([renderer.means, renderer.log_scales], lr=0.05)
    if confined:
        Confinement(renderer, UPPER, optimizer)
    for _ in range(20):
        optimizer.zero_grad()
        (renderer.means[:, 2].sum() - renderer.log_scales.sum()).backward()
        optimizer.step()
    return began & ~lie_in(UPPER, *shape_of(renderer))


def test_none_leaves_the_region(renderer):
    before = renderer.means.detach().clone()
    began = lie_in(UPPER, *shape_of(renderer))
    assert not driven_out(renderer, confined=True).any()
    assert not torch.equal(before[began], renderer.means.detach()[began])  # they move, as far as there is room


def test_without_confinement_they_do(renderer):
    assert driven_out(renderer, confined=False).any()
