"""Identities C1 to C5 of classifier-free guidance."""

import pytest
import torch

from distill3d.diffusion.condition import Condition
from distill3d.diffusion.guided import branches, guided
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
        assert torch.allclose(guided(oracle, *noisy, plus, 1 + w).noise, (1 + w) * e_c - w * e_0, atol=1e-12)
        assert not torch.allclose(guided(oracle, *noisy, plus, w).noise, (1 + w) * e_c - w * e_0, atol=1e-3)


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
