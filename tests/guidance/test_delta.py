"""Identities D1 to D4 of the delta denoising score on the analytic oracle."""

import pytest
import torch

from distill3d.guidance.delta import delta_denoising
from distill3d.guidance.sds import sds
from tests.oracles import Oracle


@pytest.fixture
def oracle():
    return Oracle()


def case(batch=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, source, noise = torch.randn(3, batch, 2, 2, 2, dtype=torch.float64, generator=generator)
    return x, source, torch.linspace(50, 948, batch).long(), noise


def test_d1_same_picture_and_text_leave_the_scene_alone(oracle):
    x, _, t, noise = case()
    plus = oracle.condition("plus")
    assert delta_denoising(oracle, x, x, t, noise, plus, plus, 7.5).abs().max() == 0
    assert delta_denoising(oracle, x, x, t, noise, oracle.condition("minus"), plus, 7.5).abs().max() > 0.1


def test_d2_swapping_source_and_target_flips_the_sign(oracle):
    x, source, t, noise = case()
    plus, minus = oracle.condition("plus"), oracle.condition("minus")
    there = delta_denoising(oracle, x, source, t, noise, plus, minus, 7.5)
    back = delta_denoising(oracle, source, x, t, noise, minus, plus, 7.5)
    assert torch.equal(there, -back)


def test_d3_it_is_the_difference_of_two_score_distillations(oracle):
    x, source, t, noise = case()
    plus, minus = oracle.condition("plus"), oracle.condition("minus")
    two = sds(oracle, x, t, noise, plus, 7.5, "uniform") - sds(oracle, source, t, noise, minus, 7.5, "uniform")
    assert torch.allclose(delta_denoising(oracle, x, source, t, noise, plus, minus, 7.5), two, atol=1e-12)


def test_d4_the_noise_cancels_where_sds_keeps_it(oracle):
    generator = torch.Generator().manual_seed(3)
    source = -torch.ones(256, 2, 2, 2, dtype=torch.float64)
    x, t = source + 0.1, torch.full((256,), 500)
    noise = torch.randn(x.shape, dtype=x.dtype, generator=generator)
    plus, minus = oracle.condition("plus"), oracle.condition("minus")
    linear = delta_denoising(oracle, x, source, t, noise, plus, minus, 1.0)
    assert linear.std(0).max() < 1e-12  # one Gaussian a class: the gradient does not know the noise
    delta = delta_denoising(oracle, x, source, t, noise, plus, minus, 7.5).std(0).mean()
    assert delta < 0.25 * sds(oracle, x, t, noise, plus, 7.5, "uniform").std(0).mean()


def test_no_graph_reaches_the_prior(oracle):
    x, source, t, noise = case()
    gradient = delta_denoising(
        oracle, x.requires_grad_(), source, t, noise, oracle.condition("plus"), oracle.condition("minus"), 7.5
    )
    assert gradient.grad_fn is None
