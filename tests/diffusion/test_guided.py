"""Identities C1 to C6 of classifier-free guidance, and its variants."""

import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

from distill3d.diffusion.condition import Condition
from distill3d.diffusion.guided import branches, chained, from_tutorial_weight, guided, guided_denoiser, rescaled
from tests.oracles import Oracle


@pytest.fixture
def oracle():
    return Oracle()


@pytest.fixture
def noisy():
    x = torch.randn(20, 2, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return x, torch.linspace(10, 990, 20).long()


def test_c1_it_is_the_tutorials_weight_plus_one(oracle, noisy):
    plus = oracle.condition("plus")
    e_c, e_0 = (p.noise for p in branches(oracle, *noisy, [plus, plus.unconditional]))
    for w in (0.5, 6.5, 99):
        published = (1 + w) * e_c - w * e_0
        assert torch.allclose(guided(oracle, *noisy, plus, from_tutorial_weight(w)).noise, published, atol=1e-12)
        assert not torch.allclose(guided(oracle, *noisy, plus, w).noise, published, atol=1e-3)


def test_c2_one_is_conditional_and_zero_unconditional_in_one_call_each(oracle, noisy):
    plus = oracle.condition("plus")
    oracle.batches.clear()
    conditional = guided(oracle, *noisy, plus, 1)
    unconditional = guided(oracle, *noisy, plus, 0)
    assert oracle.batches == [20, 20]
    assert torch.equal(conditional.noise, oracle.denoise(*noisy, plus).noise)
    assert torch.equal(unconditional.noise, oracle.denoise(*noisy, plus.unconditional).noise)


def test_any_other_scale_is_one_batched_call(oracle, noisy):
    oracle.batches.clear()
    guided(oracle, *noisy, oracle.condition("plus"), 7.5)
    assert oracle.batches == [40]


def test_c3_equal_branches_make_the_scale_irrelevant(oracle, noisy):
    same = oracle.condition("plus", negative="plus")
    assert torch.allclose(guided(oracle, *noisy, same, 30).noise, guided(oracle, *noisy, same, 1).noise, atol=1e-12)


def test_c4_the_difference_is_the_classifiers_gradient(oracle, noisy):
    x, t = noisy[0].clone().requires_grad_(), noisy[1]
    (classifier,) = torch.autograd.grad(oracle.log_classes(x, t)[:, 0].sum(), x)
    plus, sigma = oracle.condition("plus"), oracle.schedule.at(t, x)[1]
    e_c, e_0 = (p.noise for p in branches(oracle, x, t, [plus, plus.unconditional]))
    w = 3.0
    mixed = guided(oracle, x, t, plus, 1 + w).noise
    assert torch.allclose(mixed, e_c - w * sigma * classifier, atol=1e-10)
    assert torch.allclose(mixed, e_0 - (1 + w) * sigma * classifier, atol=1e-10)


def test_c5_linear_in_the_scale(oracle, noisy):
    plus = oracle.condition("plus")
    a, b, c = (guided(oracle, *noisy, plus, s).noise for s in (2, 5, 8))
    assert torch.allclose(b - a, c - b, atol=1e-12)


def test_several_conditions_share_an_unconditional_branch(oracle, noisy):
    plus, minus = oracle.condition("plus"), oracle.condition("minus")
    e_p, e_m, e_0 = (p.noise for p in branches(oracle, *noisy, [plus, minus, plus.unconditional]))
    oracle.batches.clear()
    mixed = guided(oracle, *noisy, [plus, minus], [3.0, 2.0])
    assert oracle.batches == [60]
    assert torch.allclose(mixed.noise, e_0 + 3 * (e_p - e_0) + 2 * (e_m - e_0), atol=1e-12)


def test_a_mixture_still_explains_the_noisy_picture(oracle, noisy):
    mixed = guided(oracle, *noisy, oracle.condition("plus"), 20)
    assert torch.allclose(mixed.alpha * mixed.clean + mixed.sigma * mixed.noise, noisy[0], atol=1e-10)


def test_conditions_and_scales_must_match(oracle, noisy):
    with pytest.raises(ValueError, match="need as many scales"):
        guided(oracle, *noisy, [oracle.condition("plus")], [1.0, 2.0])
    with pytest.raises(ValueError, match="unconditional branch"):
        guided(oracle, *noisy, Condition(oracle.condition("plus").text), 2.0)


def test_c6_a_chain_is_instruct_pix2pix(oracle, noisy):
    """Nothing, picture, picture and instruction; the oracle's classes stand for the three."""
    nothing, picture, both = (oracle.condition(name) for name in ("", "minus", "plus"))
    e_0, e_i, e_it = (p.noise for p in branches(oracle, *noisy, [nothing, picture, both]))
    oracle.batches.clear()
    made = chained(oracle, *noisy, [nothing, picture, both], [1.5, 7.5]).noise
    assert oracle.batches == [60]
    assert torch.allclose(made, e_0 + 1.5 * (e_i - e_0) + 7.5 * (e_it - e_i), atol=1e-12)
    assert not torch.allclose(made, e_0 + 7.5 * (e_i - e_0) + 1.5 * (e_it - e_i), atol=1e-3)
    oracle.batches.clear()
    equal = chained(oracle, *noisy, [nothing, picture, both], [4.0, 4.0]).noise
    assert oracle.batches == [40]  # equal scales need no picture alone
    assert torch.allclose(equal, e_0 + 4 * (e_it - e_0), atol=1e-12)
    assert torch.equal(chained(oracle, *noisy, [nothing, picture, both], [1.0, 1.0]).noise, e_it)
    with pytest.raises(ValueError, match="a chain of 3 conditions needs 2 scales"):
        chained(oracle, *noisy, [nothing, picture, both], [1.0])


def test_a_scale_for_each_picture(oracle, noisy):
    plus, scales = oracle.condition("plus"), torch.linspace(0, 10, 20, dtype=torch.float64)
    together = guided(oracle, *noisy, plus, scales).noise
    for i in (0, 7, 19):
        x, t = noisy[0][i : i + 1], noisy[1][i : i + 1]
        assert torch.allclose(together[i : i + 1], guided(oracle, x, t, plus, float(scales[i])).noise, atol=1e-12)


def test_a_negative_prompt_takes_the_place_of_nothing(oracle, noisy):
    e_p, e_m = (oracle.denoise(*noisy, oracle.condition(name)).noise for name in ("plus", "minus"))
    made = guided(oracle, *noisy, oracle.condition("plus", negative="minus"), 3.0).noise
    assert torch.allclose(made, e_m + 3 * (e_p - e_m), atol=1e-12)
    assert not torch.allclose(made, guided(oracle, *noisy, oracle.condition("plus"), 3.0).noise, atol=1e-3)


def test_outside_its_interval_guidance_is_the_plain_model_in_one_call(oracle, noisy):
    plus, (x, t) = oracle.condition("plus"), noisy
    full, plain = guided(oracle, x, t, plus, 7.5).noise, guided(oracle, x, t, plus, 1.0).noise
    inside = (t >= 300) & (t <= 700)
    made = guided(oracle, x, t, plus, 7.5, interval=(0.3, 0.7)).noise
    assert 0 < inside.sum() < 20
    assert torch.allclose(made[inside], full[inside], atol=1e-12)
    assert torch.allclose(made[~inside], plain[~inside], atol=1e-12)
    assert not torch.allclose(full[~inside], plain[~inside], atol=1e-3)
    oracle.batches.clear()
    denoise = guided_denoiser(oracle, plus, 7.5, interval=(0.3, 0.7))
    for time in (100, 500, 900):
        denoise(x, torch.full((20,), time))
    assert oracle.batches == [20, 40, 20]


def test_outside_the_interval_the_last_of_several_conditions_stands_alone(oracle, noisy):
    both = [oracle.condition("plus"), oracle.condition("minus")]
    oracle.batches.clear()
    made = guided(oracle, *noisy, both, [-6.0, 7.5], interval=(2.0, 3.0)).noise
    assert oracle.batches == [20]
    assert torch.equal(made, oracle.denoise(*noisy, both[1]).noise)


@pytest.fixture
def contrasty():
    """Classes that are not flat pictures."""
    return Oracle(torch.randn(2, 2, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(5)))


def test_rescaled_guidance_has_the_contrast_of_the_plain_model(contrasty, noisy):
    oracle, plus = contrasty, contrasty.condition("plus")
    plain, full = guided(oracle, *noisy, plus, 1.0), guided(oracle, *noisy, plus, 9.0)

    def contrast(p):
        return p.velocity.flatten(1).std(1)

    made = guided(oracle, *noisy, plus, 9.0, rescale=1.0)
    assert torch.allclose(contrast(made), contrast(plain), atol=1e-10)
    assert (contrast(full) / contrast(plain) - 1).abs().max() > 0.05
    assert torch.allclose(made.alpha * made.clean + made.sigma * made.noise, noisy[0], atol=1e-10)
    assert torch.equal(guided(oracle, *noisy, plus, 9.0, rescale=0.0).noise, full.noise)
    oracle.batches.clear()
    guided(oracle, *noisy, plus, 9.0, rescale=0.7)
    assert oracle.batches == [40]


def test_rescaling_agrees_with_diffusers(contrasty, noisy):
    oracle, plus = contrasty, contrasty.condition("plus")
    plain, full = guided(oracle, *noisy, plus, 1.0), guided(oracle, *noisy, plus, 9.0)
    for kind in ("velocity", "noise"):
        theirs = rescale_noise_cfg(getattr(full, kind), getattr(plain, kind), guidance_rescale=0.7)
        assert torch.allclose(getattr(rescaled(full, plain, 0.7, of=kind), kind), theirs, atol=1e-10)
