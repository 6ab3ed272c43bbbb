"""What a prior is shown of a rendering."""

import pytest
import torch

from distill3d.core.rendering import Rendering
from distill3d.guidance.pictures import shown
from tests.oracles import Oracle


def prior(channels, size, background=None):
    oracle = Oracle(torch.zeros(1, channels, size, size).double(), ("it",))
    oracle.background = background
    return oracle


@pytest.fixture
def rendering():
    """A half-covered red over white, and the same without its background."""
    alpha = torch.zeros(1, 8, 8, 1)
    alpha[:, :, :4] = 1.0
    alpha[:, :, 4] = 0.5
    premultiplied = alpha * torch.tensor([1.0, 0.0, 0.0])
    return Rendering(premultiplied + (1 - alpha), alpha, alpha, extras={"foreground": premultiplied})


def test_without_alpha_it_is_the_composite(rendering):
    assert shown(rendering, prior(3, 8)) is rendering.rgb


def test_with_alpha_it_is_colour_over_the_priors_grey_and_coverage(rendering):
    picture = shown(rendering, prior(4, 8, 0.5))
    assert picture.shape == (1, 8, 8, 4)
    assert picture[0, 0, 0].tolist() == [1.0, 0.0, 0.0, 1.0]
    assert picture[0, 0, 4].tolist() == [0.75, 0.25, 0.25, 0.5]
    assert picture[0, 0, 7].tolist() == [0.5, 0.5, 0.5, 0.0]


def test_the_renderings_own_background_does_not_show(rendering):
    black = Rendering(rendering.rgb * 0, rendering.alpha, rendering.depth, extras=rendering.extras)
    assert torch.equal(shown(black, prior(4, 8, 0.5)), shown(rendering, prior(4, 8, 0.5)))
    bare = Rendering(rendering.rgb, rendering.alpha, rendering.depth)
    assert torch.equal(shown(bare, prior(4, 8, 0.5))[..., :3], rendering.rgb)


def test_it_is_resized_to_the_prior_without_aliasing(rendering):
    checker = (torch.arange(16)[:, None] + torch.arange(16)) % 2
    rgb = checker[None, :, :, None].float().expand(1, -1, -1, 3)
    half = shown(Rendering(rgb, rgb[..., :1], rgb[..., :1]), prior(3, 8))
    assert half.shape == (1, 8, 8, 3)
    assert (half - 0.5).abs().max() < 0.1


def test_gradient_reaches_colour_and_coverage(rendering):
    alpha = rendering.alpha.clone().requires_grad_()
    premultiplied = rendering.extras["foreground"].clone().requires_grad_()
    given = Rendering(rendering.rgb, alpha, alpha, extras={"foreground": premultiplied})
    shown(given, prior(4, 4, 0.5)).sum().backward()
    assert premultiplied.grad.sum() > 0
    assert alpha.grad.sum() < 0  # one more unit of coverage, three times half a unit of grey less
