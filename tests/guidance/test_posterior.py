"""Identities Q1 to Q6 of posterior distillation sampling: where its identity term comes from."""

import pytest
import torch

from distill3d.diffusion.guided import guided
from distill3d.guidance.delta import delta_denoising
from distill3d.guidance.posterior import identity_weights, posterior_distillation
from tests.oracles import Oracle


@pytest.fixture
def oracle():
    return Oracle()


TIMES = torch.tensor([21, 101, 301, 501, 801, 979])


def case(batch=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, source, noise = torch.randn(3, batch, 2, 2, 2, dtype=torch.float64, generator=generator)
    return x, source, torch.linspace(21, 979, batch).long(), noise


def stochastic_latent(oracle, x, t, noise, later_noise, condition, scale, stride):
    """(x_s - mu) / std with the released code's coefficients, written out; [B, ...]."""
    schedule, s = oracle.schedule, t - stride
    x_t, x_s = schedule.add_noise(x, noise, t), schedule.add_noise(x, later_noise, s)
    bar_t, bar_s, bar_1 = (schedule.at(i, x)[0] ** 2 for i in (t, s, t - 1))
    alpha, beta = bar_t / bar_1, 1 - bar_t / bar_1
    clean = guided(oracle, x_t, t, condition, scale).clean
    mean = bar_s.sqrt() * beta / (1 - bar_t) * clean + alpha.sqrt() * (1 - bar_s) / (1 - bar_t) * x_t
    return (x_s - mean) / (beta * (1 - bar_s) / (1 - bar_t)).sqrt()


def test_q1_q2_it_is_the_difference_of_stochastic_latents_whatever_the_second_noise(oracle):
    x, source, t, noise = case()
    plus, minus = oracle.condition("plus"), oracle.condition("minus")
    got = posterior_distillation(oracle, x, source, t, noise, plus, minus, 100.0)
    for seed in (1, 2):
        later = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(seed))
        target = stochastic_latent(oracle, x, t, noise, later, plus, 100.0, 2)
        reference = stochastic_latent(oracle, source, t, noise, later, minus, 100.0, 2)
        assert torch.allclose(got, target - reference, atol=1e-9)


def test_q3_same_picture_and_text_leave_the_scene_alone(oracle):
    x, _, t, noise = case()
    plus = oracle.condition("plus")
    assert posterior_distillation(oracle, x, x, t, noise, plus, plus, 100.0).abs().max() == 0


@pytest.mark.parametrize("stride", [1, 2, 20])
def test_q4_with_consistent_coefficients_there_is_no_identity_term(oracle, stride):
    psi, chi = identity_weights(oracle.schedule, TIMES, stride, "exact")
    assert psi.abs().max() < 1e-11
    x, source, t, noise = case()
    texts = oracle.condition("plus"), oracle.condition("minus")
    exact = posterior_distillation(oracle, x, source, t, noise, *texts, 7.5, stride, "exact")
    chi = identity_weights(oracle.schedule, t, stride, "exact")[1].reshape(-1, 1, 1, 1)
    assert torch.allclose(exact, chi * delta_denoising(oracle, x, source, t, noise, *texts, 7.5), atol=1e-9)


def test_q5_the_released_coefficients_give_the_published_numbers(oracle):
    psi, chi = identity_weights(oracle.schedule, TIMES)
    assert torch.allclose(psi, torch.tensor([1.61, 0.314, 0.0794, 0.0321, 0.0096, 0.0042]).double(), rtol=0.02)
    assert torch.allclose(chi, torch.tensor([0.232, 0.116, 0.0838, 0.0821, 0.0962, 0.110]).double(), rtol=0.01)


@pytest.mark.parametrize(
    ("stride", "ratios"),
    [
        (1, (0, 0, 0, 0)),
        (2, (2.72, 0.95, 0.39, 0.10)),
        (5, (10.82, 3.77, 1.56, 0.40)),
        (20, (49.72, 17.46, 7.19, 1.81)),
    ],
)
def test_the_stride_is_a_hidden_identity_weight(oracle, stride, ratios):
    psi, chi = identity_weights(oracle.schedule, torch.tensor([101, 301, 501, 801]), stride)
    assert torch.allclose(psi / chi, torch.tensor(ratios).double(), atol=0.006)


def test_q6_closed_form_of_the_ratio(oracle):
    t = torch.tensor([101, 501])
    psi, chi = identity_weights(oracle.schedule, t)
    like = torch.zeros(2, dtype=torch.float64)
    bar_t, bar_s = (oracle.schedule.at(i, like)[0] ** 2 for i in (t, t - 2))
    assert torch.allclose(psi / chi, (1 + bar_s) / 2 * (bar_t / (1 - bar_t)).sqrt(), rtol=0.01)


def test_the_identity_term_holds_an_edit_back(oracle):
    """From class minus to plus in every dimension: DDS overshoots the target, PDS as released stays closer."""
    ends = {}
    for reading in ("strided", "exact"):
        x = source = -torch.ones(4, 2, 2, 2, dtype=torch.float64)
        generator = torch.Generator().manual_seed(0)
        for _ in range(300):
            t = torch.randint(20, 980, (4,), generator=generator)
            noise = torch.randn(x.shape, dtype=x.dtype, generator=generator)
            texts = oracle.condition("plus"), oracle.condition("minus")
            x = x - 0.5 * posterior_distillation(oracle, x, source, t, noise, *texts, 7.5, 2, reading)
        ends[reading] = float(x.mean())
    assert ends["exact"] > 1.5 > ends["strided"] > -1


def test_times_before_the_stride_are_refused(oracle):
    with pytest.raises(ValueError, match="stride"):
        identity_weights(oracle.schedule, torch.tensor([1]), 2)
