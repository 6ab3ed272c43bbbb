"""The SDE's coefficients, and that its steps are ancestral sampling and DDIM to first order."""

import pytest
import torch

from distill3d.diffusion import schedule_families as families
from distill3d.diffusion.ddim import ddim_step
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.sde import coefficients, flow_step, probability_flow, reverse_sde, reverse_sde_step
from distill3d.diffusion.timesteps import timesteps
from tests.diffusion.walks import denoiser, noise, rms, seeded
from tests.oracles import Oracle


def test_variance_preserving_has_half_of_beta_as_drift_and_beta_as_diffusion():
    betas = families.scaled_linear_betas()
    t = torch.arange(1, 1000)
    f, g2 = coefficients(NoiseSchedule.from_betas(betas), t, t - 1)
    assert torch.allclose(g2, betas[1:], atol=1e-14)
    assert ((f + betas[1:] / 2) / betas[1:]).abs().max() < 0.01


@pytest.mark.parametrize("name", ["linear", "flow"])
def test_g_squared_is_what_the_variance_grows_beyond_the_drift(name):
    """g^2 = d sigma^2 / dt - 2 f sigma^2, by central differences; without its second term it is wrong."""
    schedule = (
        NoiseSchedule.from_betas(families.linear_betas())
        if name == "linear"
        else NoiseSchedule(*families.rectified_flow())
    )
    t = torch.arange(100, 900)
    f, g2 = (c / 2 for c in coefficients(schedule, t + 1, t - 1))
    grows = (schedule.sigma[t + 1] ** 2 - schedule.sigma[t - 1] ** 2) / 2
    assert ((grows - 2 * f * schedule.sigma[t] ** 2 - g2) / g2).abs().max() < 0.03
    assert ((grows - g2) / g2).abs().max() > 0.5


def difference(step, better, oracle, stride):
    x = noise(32)
    t, s = torch.full((32,), 600), torch.full((32,), 600 - stride)
    prediction, zero = denoiser(oracle)(x, t), torch.zeros_like(x)
    return rms(step(prediction, t, s, zero) - better(prediction, t, s, zero))


def test_one_step_is_ancestral_or_ddim_but_for_the_second_order():
    oracle = Oracle()
    schedule = oracle.schedule
    pairs = {
        "sde": (
            lambda p, t, s, z: reverse_sde_step(schedule, p, t, s, z),
            lambda p, t, s, z: schedule.posterior(p.x_t, p.clean, t, s)[0],
        ),
        "ode": (
            lambda p, t, s, z: flow_step(schedule, p, t, s),
            lambda p, t, s, z: ddim_step(schedule, p, t, s, 0.0, z),
        ),
        "mixed up": (  # negative control: the ODE's step is not the SDE's mean, not even to first order
            lambda p, t, s, z: flow_step(schedule, p, t, s),
            lambda p, t, s, z: schedule.posterior(p.x_t, p.clean, t, s)[0],
        ),
    }
    ratio = {name: difference(*pair, oracle, 4) / difference(*pair, oracle, 2) for name, pair in pairs.items()}
    assert ratio["sde"] == pytest.approx(4, abs=0.2)
    assert ratio["ode"] == pytest.approx(4, abs=0.2)
    assert ratio["mixed up"] == pytest.approx(2, abs=0.2)


def test_both_draw_the_data():
    oracle = Oracle()
    with torch.no_grad():
        drawn = reverse_sde(oracle.schedule, denoiser(oracle), noise(500), timesteps(250), generator=seeded(1))
        flowed = probability_flow(oracle.schedule, denoiser(oracle), noise(500), timesteps(250))
    for x in (drawn, flowed):
        mode = x.flatten(1).mean(1).sign().reshape(-1, 1, 1, 1)
        assert abs((mode > 0).double().mean() - 0.5) < 0.07
        assert abs((x - mode).std() - 0.5) < 0.035


def test_a_start_without_signal_is_refused():
    oracle = Oracle(schedule=NoiseSchedule(*families.rectified_flow()))
    with pytest.raises(ValueError, match="the drift is infinite at t = 999"):
        reverse_sde(oracle.schedule, denoiser(oracle), noise(2), timesteps(10))
    assert probability_flow(oracle.schedule, denoiser(oracle), noise(2), [990, 500, -1]).isfinite().all()
