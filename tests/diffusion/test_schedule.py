"""Identities P1 to P7 of the posterior, and agreement with diffusers."""

import diffusers
import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.diffusion.schedule import NoiseSchedule

CONFIGS = {
    "linear": {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},
    "scaled_linear": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
}
FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
CONFIGS["zero_snr"] = CONFIGS["scaled_linear"] | {"rescale_betas_zero_snr": True}


@pytest.fixture(params=[*CONFIGS, "flow"])
def schedule(request):
    return NoiseSchedule.from_config(FLOW if request.param == "flow" else CONFIGS[request.param])


def pairs():
    """Every t with s one step, a few steps and all the way back."""
    t = torch.arange(1000).repeat(4)
    s = torch.cat([torch.arange(1000) - step for step in (1, 2, 20)] + [torch.full((1000,), -1)]).clamp(min=-1)
    return t, s


def coefficients(schedule, t, s):
    """c0, c1 and std of the posterior, [N], and alpha and sigma at both times."""
    one, zero = torch.ones(len(t), 1, dtype=torch.float64), torch.zeros(len(t), 1, dtype=torch.float64)
    c0, std = schedule.posterior(zero, one, t, s)
    c1, _ = schedule.posterior(one, zero, t, s)
    return c0, c1, std, schedule.at(t, one), schedule.at(s, one)


@pytest.mark.parametrize("name", CONFIGS)
def test_tables_agree_with_diffusers(name):
    ours = NoiseSchedule.from_config(CONFIGS[name])
    theirs = diffusers.DDIMScheduler(**CONFIGS[name]).alphas_cumprod.double()
    assert torch.allclose(ours.alpha**2, theirs, atol=2e-6)
    assert torch.allclose(ours.alpha**2 + ours.sigma**2, torch.ones(1000, dtype=torch.float64), atol=1e-14)


def test_zero_terminal_snr_ends_in_pure_noise():
    assert NoiseSchedule.from_config(CONFIGS["zero_snr"]).alpha[-1] == 0
    assert NoiseSchedule.from_config(CONFIGS["scaled_linear"]).alpha[-1] > 0.05


def test_p1_the_mean_keeps_the_signal(schedule):
    t, s = pairs()
    c0, c1, _, (alpha_t, _), (alpha_s, _) = coefficients(schedule, t, s)
    assert (c0 + c1 * alpha_t - alpha_s).abs().max() < 1e-12


def test_p1_breaks_when_a_stride_meets_single_step_betas():
    """Negative control: t - 2 with the betas of one step, a mistake found in the wild."""
    schedule = NoiseSchedule.from_config(CONFIGS["scaled_linear"])
    t = torch.arange(2, 1000)
    one = torch.ones(len(t), 1, dtype=torch.float64)
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule.at(t, one), schedule.at(t - 2, one)
    beta = schedule.step_variance(t, t - 1)[:, None]
    c0, c1 = alpha_s * beta / sigma_t**2, (1 - beta).sqrt() * sigma_s**2 / sigma_t**2
    assert (c0 + c1 * alpha_t - alpha_s).abs().min() > 1e-6


def test_p2_the_variance_is_preserved(schedule):
    t, s = pairs()
    _, c1, std, (_, sigma_t), (_, sigma_s) = coefficients(schedule, t, s)
    assert ((c1 * sigma_t) ** 2 + std**2 - sigma_s**2).abs().max() < 1e-14


def test_p3_the_ancestral_form_is_the_posterior_mean():
    schedule = NoiseSchedule.from_config(CONFIGS["linear"])
    t, s = pairs()
    x_t, noise = torch.randn(2, len(t), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    alpha, sigma = schedule.at(t, x_t)
    beta = schedule.step_variance(t, s)[:, None]
    ancestral = (x_t - beta / sigma * noise) / (1 - beta).sqrt()
    mean, _ = schedule.posterior(x_t, (x_t - sigma * noise) / alpha, t, s)
    assert ((ancestral - mean) / mean.abs().clamp(min=1)).abs().max() < 1e-11


def test_p5_eta_scales_the_standard_deviation(schedule):
    t, s = pairs()
    std = coefficients(schedule, t, s)[2].flatten()
    assert torch.equal(schedule.sigma_eta(t, s), std)
    assert torch.allclose(schedule.sigma_eta(t, s, 0.3), 0.3 * std)


def test_p6_the_large_variance_bounds_the_small_one(schedule):
    t, s = pairs()
    assert (schedule.step_variance(t, s) >= schedule.sigma_eta(t, s) ** 2 - 1e-15).all()


def test_p7_the_last_step_returns_the_clean_picture(schedule):
    x_t, x0 = torch.randn(2, 1000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean, std = schedule.posterior(x_t, x0, torch.arange(1000), torch.full((1000,), -1))
    assert torch.allclose(mean, x0, atol=1e-12)
    assert torch.equal(std, torch.zeros_like(std))


def test_times_are_batched_and_minus_one_is_clean(schedule):
    x0, noise = torch.randn(2, 4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([-1, 0, 500, 999])
    together = schedule.add_noise(x0, noise, t)
    one_by_one = torch.cat([schedule.add_noise(x0[i : i + 1], noise[i : i + 1], t[i : i + 1]) for i in range(4)])
    assert torch.equal(together, one_by_one)
    assert torch.equal(together[0], x0[0])
    assert together.dtype == torch.float32


def test_log_snr_falls(schedule):
    assert (schedule.log_snr(torch.arange(1000)).diff() < 0).all()
    some = torch.arange(990)
    assert torch.allclose(schedule.snr(some).log(), schedule.log_snr(some))


def test_r4_more_noise_leads_from_the_law_of_one_level_to_that_of_another(schedule):
    """x_s = alpha_s x_0 + sigma_s e, noised further, has x_t's mean and variance, whatever the stride."""
    t, s = pairs()
    one, zero = torch.ones(len(t), 1, dtype=torch.float64), torch.zeros(len(t), 1, dtype=torch.float64)
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule.at(t, one), schedule.at(s, one)
    keeps, adds = schedule.add_more_noise(one, zero, s, t), schedule.add_more_noise(zero, one, s, t)
    assert (keeps * alpha_s - alpha_t).abs().max() < 1e-14
    assert ((keeps * sigma_s) ** 2 + adds**2 - sigma_t**2).abs().max() < 1e-14
    # Negative control: noise of the level's own variance, as `add_noise` would give, is too much.
    assert ((keeps * sigma_s) ** 2 + sigma_t**2 - sigma_t**2).abs().max() > 0.1


def test_an_unknown_schedule_is_a_clear_error():
    with pytest.raises(UserError, match=r"squaredcos_cap_v3.*did you mean 'squaredcos_cap_v2'"):
        NoiseSchedule.from_config({"beta_schedule": "squaredcos_cap_v3"})
