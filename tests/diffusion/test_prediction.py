"""Noise, clean picture, velocity, flow and score are one thing seen five ways."""

import pytest
import torch

from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.schedule_families import rectified_flow
from tests.diffusion.test_schedule import CONFIGS
from tests.oracles import Oracle

KINDS = ("noise", "clean", "velocity", "flow", "score")


@pytest.fixture
def truth():
    """A picture, its noise and the prediction that is right about both, at every time of a schedule."""
    schedule = NoiseSchedule.from_config(CONFIGS["scaled_linear"])
    x0, noise = torch.randn(2, 1000, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    t = torch.arange(1000)
    alpha, sigma = schedule.at(t, x0)
    return Prediction(schedule.add_noise(x0, noise, t), alpha, sigma, x0, noise)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_every_kind_gives_every_other(truth, kind, other):
    seen = Prediction.of(kind, getattr(truth, kind), truth.x_t, truth.alpha, truth.sigma)
    error = (getattr(seen, other) - getattr(truth, other)).abs() / getattr(truth, other).abs().clamp(min=1)
    assert error.max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(truth, kind):
    seen = Prediction.of(kind, getattr(truth, kind), truth.x_t, truth.alpha, truth.sigma)
    for other in KINDS:
        seen = Prediction.of(other, getattr(seen, other), truth.x_t, truth.alpha, truth.sigma)
    assert (seen.clean - truth.clean).abs().max() < 1e-11
    assert (seen.noise - truth.noise).abs().max() < 1e-11


def test_a_clipped_prediction_still_explains_the_noisy_picture(truth):
    clipped = truth.clipped((-0.5, 0.5))
    assert clipped.clean.abs().max() == 0.5
    assert (clipped.alpha * clipped.clean + clipped.sigma * clipped.noise - truth.x_t).abs().max() < 1e-12
    # Negative control: the clipped picture with the old noise, as samplers in the wild combine them.
    assert (clipped.alpha * clipped.clean + clipped.sigma * truth.noise - truth.x_t).abs().max() > 1
    assert truth.clipped(None) is truth


def test_velocity_is_finite_where_nothing_of_the_picture_is_left():
    schedule = NoiseSchedule.from_config(CONFIGS["zero_snr"])
    x_t, v = torch.randn(2, 1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    alpha, sigma = schedule.at(torch.tensor([999]), x_t)
    assert torch.allclose(Prediction.of("velocity", v, x_t, alpha, sigma).clean, -v)
    assert not Prediction.of("noise", v, x_t, alpha, sigma).clean.isfinite().all()


@pytest.mark.parametrize("kind", ["velocity", "flow"])
def test_velocity_and_flow_serve_both_ends_of_a_rectified_flow(kind):
    schedule = NoiseSchedule(*rectified_flow())
    x0, noise = torch.randn(2, 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([999, -1])
    truth = Prediction(schedule.add_noise(x0, noise, t), *schedule.at(t, x0), x0, noise)
    seen = Prediction.of(kind, getattr(truth, kind), truth.x_t, truth.alpha, truth.sigma)
    assert torch.allclose(seen.clean, x0, atol=1e-14)
    assert torch.allclose(seen.noise, noise, atol=1e-14)
    with_noise = Prediction.of("noise", noise, truth.x_t, truth.alpha, truth.sigma)
    assert not with_noise.clean.isfinite().all()


def test_the_score_is_the_gradient_of_the_log_density():
    oracle = Oracle()
    x = torch.randn(50, 2, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    t = torch.linspace(0, 999, 50).long()
    (gradient,) = torch.autograd.grad(oracle.log_density(x, t).sum(), x)
    score = oracle.denoise(x, t, oracle.condition("")).score
    assert ((score - gradient).abs() / gradient.abs().clamp(min=1)).max() < 1e-12
    wrong = oracle.denoise(x, t, oracle.condition("plus")).score
    assert (wrong - gradient).abs().max() > 0.1


def test_an_unknown_kind_is_an_error(truth):
    with pytest.raises(ValueError, match="unknown prediction kind"):
        Prediction.of("epsilon", truth.noise, truth.x_t, truth.alpha, truth.sigma)
