"""The canvas of views that see each other: at first the plain one, within groups, told cameras and noise."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from distill3d.diffusion.joint_canvas import JointCanvas, places


@pytest.fixture(scope="module")
def joint():
    torch.manual_seed(0)
    made = JointCanvas(labels=6, channels=3, width=16, heads=2, depth=2)
    nn.init.normal_(made.paint.weight, std=0.3)
    return made.requires_grad_(False)


def given(batch, seed=0):
    """Noisy pictures, canvases, labels, alpha and sigma."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((batch, 3, 4, 4), (batch, 3, 4, 4), (batch, 6))
    alpha = torch.full((batch, 1, 1, 1), 0.3)
    return [*(torch.randn(shape, generator=generator) for shape in shapes), alpha, (1 - alpha**2).sqrt()]


def test_at_first_it_is_the_canvas_to_the_bit(joint):
    inputs = given(4)
    assert torch.equal(JointCanvas(labels=6, channels=3)(*inputs, 4), inputs[1])
    assert not torch.allclose(joint(*inputs, 4), inputs[1], atol=1e-2)


@pytest.mark.parametrize("views", [1, 2, 4])
@pytest.mark.parametrize("what", [0, 1, 2])
def test_a_view_hears_its_own_group_alone(joint, views, what):
    inputs = given(8)
    before = joint(*inputs, views)
    inputs[what][0] += torch.linspace(0, 1, inputs[what][0].numel()).reshape(inputs[what][0].shape)
    changed = (joint(*inputs, views) - before).abs().amax((1, 2, 3)) > 1e-6
    assert changed.tolist() == [i < views for i in range(8)]


def test_the_order_of_the_views_does_not_matter_but_what_is_told_belongs_to_each(joint):
    inputs, order = given(4), torch.tensor([0, 3, 1, 2])
    before, after = joint(*inputs, 4), joint(*(v[order] for v in inputs), 4)
    torch.testing.assert_close(after, before[order], atol=1e-5, rtol=0)
    x_t, canvas, labels, alpha, sigma = inputs
    assert not torch.allclose(joint(x_t, canvas, labels[order], alpha, sigma, 4), before, atol=1e-2)


def test_the_noise_level_is_told(joint):
    x_t, canvas, labels, alpha, sigma = given(4)
    assert not torch.allclose(joint(x_t, canvas, labels, sigma, alpha, 4), joint(*given(4), 4), atol=1e-2)
    clean = joint(x_t, canvas, labels, torch.ones_like(alpha), torch.zeros_like(sigma), 4)
    assert bool(clean.isfinite().all())  # without noise too


def test_every_place_is_told_apart():
    where = places(4, 6)
    assert where.shape == (24, 12)
    assert float((torch.cdist(where, where) + torch.eye(24)).min()) > 0.3


def test_what_is_no_group_is_refused(joint):
    with pytest.raises(ValueError, match="6 pictures are no whole number of groups of 4 views"):
        joint(*given(6), 4)
