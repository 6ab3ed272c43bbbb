"""Blended view prompts, Perp-Neg and negative prompts, as the guidances of score distillation use them."""

import math

import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.core.rendering import Rendering
from distill3d.diffusion.guided import guided
from distill3d.diffusion.perp_neg import perp_neg, turned
from distill3d.guidance import Guidance
from distill3d.guidance.view_prompts import every_view
from tests.oracles import Oracle

NAMES = tuple(every_view("toy"))
KINDS = ("sds", "csd", "ism")


def directions():
    """Front, side and back look different, overhead in between."""
    generator = torch.Generator().manual_seed(3)
    means = torch.randn(4, 3, 4, 4, dtype=torch.float64, generator=generator)
    means[3] = means[:3].mean(0)
    return 0.5 * means


def prior(bias=0.0, names=NAMES):
    """Every view's mean is drawn towards the front's, as published priors are."""
    means = directions()
    return Oracle((1 - bias) * means + bias * means[:1], names, std=0.2)


def guidance(kind="sds", oracle=None, seed=0, negative_prompt="", **config):
    generator = torch.Generator().manual_seed(seed)
    context = {"prior": oracle or prior(), "prompt": "toy", "negative_prompt": negative_prompt, "generator": generator}
    return Guidance.build({"kind": kind, **config}, **context)


def at(*azimuths):
    return Cameras.orbit(torch.tensor([math.radians(a) for a in azimuths]), 0.0)


def rendering(count):
    rgb = torch.full((count, 4, 4, 3), 0.5, dtype=torch.float64)
    return Rendering(rgb, torch.ones_like(rgb[..., :1]), torch.ones_like(rgb[..., :1]))


def gradient(member, *azimuths):
    return member(rendering(len(azimuths)), at(*azimuths), 0).gradient


def test_a_blended_prompt_turns_smoothly_where_words_jump():
    def jump(how):
        one, other = (gradient(guidance(view_prompts=how, cfg_scale=1.0), azimuth) for azimuth in (44.9, 45.1))
        return (one - other).abs().max().item()

    assert jump("blended") < 0.01
    assert jump(True) > 0.1


@pytest.mark.parametrize(("azimuth", "name"), [(0, "front"), (90, "side"), (-90, "side"), (180, "back")])
def test_a_blend_is_the_word_itself_at_the_words_own_view(azimuth, name):
    member = guidance(view_prompts="blended")
    told = member.condition(at(azimuth))
    assert torch.allclose(told.text, member.prior.condition(f"toy, {name} view").text, atol=1e-6)
    assert torch.equal(told.unconditional.text, member.prior.condition("").text)


@pytest.mark.parametrize("how", ["blended", "perp_neg"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_view_does_not_know_the_others_of_its_batch(kind, how):
    """So Perp-Neg is right for any number of views: every view's gradient is the one that it gets alone."""
    azimuths = (10.0, 80.0, 150.0, -170.0)
    oracle, x = prior(), 2 * rendering(4).rgb.permute(0, 3, 1, 2) - 1
    member = guidance(kind, oracle, view_prompts=how)
    t = torch.tensor([100, 300, 500, 800])
    noise = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(7))
    x_t = oracle.schedule.add_noise(x, noise, t)
    together = turned(oracle, x_t, t, member.condition(at(*azimuths)), 7.5, member.negatives(at(*azimuths), None, 0))
    for i, azimuth in enumerate(azimuths):
        alone, away = member.condition(at(azimuth)), member.negatives(at(azimuth), None, 0)
        one = turned(oracle, x_t[i : i + 1], t[i : i + 1], alone, 7.5, away)
        assert torch.allclose(together.noise[i : i + 1], one.noise, atol=1e-8)


def test_nothing_to_turn_away_from_is_plain_guidance_and_something_is_perp_neg():
    oracle, x = prior(), torch.zeros(2, 3, 4, 4, dtype=torch.float64)
    t, front, side = torch.tensor([200, 600]), *(prior().condition(name) for name in NAMES[:2])
    assert torch.equal(turned(oracle, x, t, front, 7.5).noise, guided(oracle, x, t, front, 7.5).noise)
    away = turned(oracle, x, t, front, 7.5, [(side, -1.0)])
    assert torch.equal(away.noise, perp_neg(oracle, x, t, front, [side], 7.5, [-1.0]).noise)
    assert not torch.allclose(away.noise, guided(oracle, x, t, front, 7.5).noise)


def distilled(how, steps=60):
    """The picture that score distillation makes of the back, under a prior that is drawn to fronts."""
    picture = torch.full((1, 4, 4, 3), 0.5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([picture], lr=0.03)
    member = guidance(oracle=prior(bias=0.5), view_prompts=how, cfg_scale=3.0, clip=False)
    for step in range(steps):
        optimizer.zero_grad()
        shown = picture.expand(4, -1, -1, -1)
        member(Rendering(shown, shown[..., :1], shown[..., :1]), at(180, 180, 180, 180), step).loss.backward()
        optimizer.step()
    return 2 * picture.detach()[0].permute(2, 0, 1) - 1


def test_perp_neg_makes_a_back_of_the_back_under_a_prior_that_likes_fronts():
    """How much nearer the picture is to the true back than to the front: the Janus measure of this toy."""
    front, _, back, _ = directions()

    def nearer_the_back(picture):
        return (picture - front).norm() - (picture - back).norm()

    assert nearer_the_back(distilled("perp_neg")) > nearer_the_back(distilled("blended")) + 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_every_guidance_hears_the_negative_prompt_either_way(kind):
    plain = gradient(guidance(kind), 0.0)
    unconditional = gradient(guidance(kind, negative_prompt=NAMES[1]), 0.0)
    away = gradient(guidance(kind, negative_prompt=NAMES[1], negative_weight=2.0), 0.0)
    assert not torch.allclose(plain, unconditional)
    assert not torch.allclose(plain, away)
    assert not torch.allclose(unconditional, away)
    # Negative controls: a weight of zero, and a weight without anything to weigh, change nothing.
    assert torch.allclose(
        gradient(guidance(kind, negative_prompt=NAMES[1], negative_weight=0.0), 0.0), plain, atol=1e-9
    )
    assert torch.equal(gradient(guidance(kind, negative_weight=2.0), 0.0), plain)


def test_a_negative_weight_may_change_over_the_steps_and_keeps_the_unconditional_branch_free():
    member = guidance(negative_prompt=NAMES[1], negative_weight={0: 1.0, 100: 3.0})
    ((condition, weight),) = member.negatives(at(0, 90), None, 50)
    assert torch.equal(weight, torch.full((2,), -2.0))
    assert torch.equal(condition.text, member.prior.condition(NAMES[1]).text)
    assert member.condition(at(0, 90)).unconditional.text.sum() == 0
    assert guidance(negative_prompt=NAMES[1]).condition(at(0)).unconditional.text.sum() == 1


def test_a_prior_that_sees_cameras_needs_no_words_for_views():
    oracle = prior(names=("toy", "side", "back", "top"))
    oracle.sees_cameras = True
    assert guidance(oracle=oracle, view_prompts="perp_neg").negatives(at(0, 90), None, 0) == ()


def test_a_misspelt_way_of_prompting_is_named():
    with pytest.raises(UserError, match=r"guidance\.view_prompts.*'blended' or 'perp_neg'"):
        guidance(view_prompts="perpneg")
