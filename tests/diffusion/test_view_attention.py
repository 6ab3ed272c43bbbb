"""Attention over views beside a network: nothing at first, within groups only, and taken away again."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from distill3d.diffusion.view_attention import ViewAttention, places


@pytest.fixture
def layer():
    torch.manual_seed(0)
    made = ViewAttention(channels=8, seen=5, told=6, heads=2, width=4)
    for start in (made.told, made.answer):
        nn.init.normal_(start.weight, std=0.3)
    return made


def given(batch, seed=0):
    """Features of a block, features of the first layer at twice the resolution, and what is told."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, *shape, generator=generator) for shape in ((8, 4, 4), (5, 8, 8), (6,))]


def test_a_new_layer_changes_nothing(layer):
    features, seen, told = given(4)
    assert torch.equal(ViewAttention(8, 5, 6)(features, seen, told, 4), features)
    assert not torch.allclose(layer(features, seen, told, 4), features, atol=1e-2)


@pytest.mark.parametrize("views", [1, 2, 4])
@pytest.mark.parametrize("what", [0, 1, 2])
def test_a_view_hears_its_own_group_alone(layer, views, what):
    inputs = given(8)
    before = layer(*inputs, views)
    inputs[what][0] += torch.linspace(0, 1, inputs[what][0].numel()).reshape(inputs[what][0].shape)
    changed = (layer(*inputs, views) - before).abs().amax((1, 2, 3)) > 1e-6
    assert changed.tolist() == [i < views for i in range(8)]


def test_the_order_of_the_others_does_not_matter(layer):
    features, seen, told = given(4)
    order = torch.tensor([0, 3, 1, 2])
    before, after = layer(features, seen, told, 4), layer(features[order], seen[order], told[order], 4)
    torch.testing.assert_close(after, before[order], atol=1e-5, rtol=0)
    other = layer(features, seen, told[order], 4)  # but what is told belongs to each
    assert not torch.allclose(other, before, atol=1e-2)


def test_the_size_of_the_features_does_not_matter(layer):
    """Blocks of the embedded prior differ a hundredfold in the size of what they put out."""
    features, seen, told = given(4)
    small = layer(features, seen, told, 4)
    torch.testing.assert_close(layer(100 * features, 9 * seen, told, 4), 100 * small, atol=1e-3, rtol=0)


def test_every_place_is_told_apart():
    where = places(4, 6)
    assert where.shape == (24, 12)
    apart = torch.cdist(where, where) + torch.eye(24)
    assert float(apart.min()) > 0.3
    assert float(torch.cdist(places(2, 2), where).min(1).values.max()) > 0  # by share of the picture, not by cell


def test_what_is_no_group_is_refused(layer):
    with pytest.raises(ValueError, match="6 pictures are no whole number of groups of 4 views"):
        layer(*given(6), 4)
