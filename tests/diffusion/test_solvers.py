"""Second order where it is promised: Heun and DPM-Solver++ against the exact flow; Euler on straight paths."""

from itertools import pairwise

import pytest
import torch

from distill3d.diffusion.ddim import ddim, ddim_step
from distill3d.diffusion.dpm_solver import dpm_solver
from distill3d.diffusion.euler_flow import euler_flow
from distill3d.diffusion.heun import heun
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.schedule_families import cosine_betas, rectified_flow
from distill3d.diffusion.timesteps import timesteps
from tests.diffusion.walks import denoiser, flowed, noise, rms
from tests.oracles import STABLE_DIFFUSION, Oracle

SCHEDULES = {
    "scaled_linear": NoiseSchedule.from_config(STABLE_DIFFUSION),
    "zero_snr": NoiseSchedule.from_config(STABLE_DIFFUSION | {"rescale_betas_zero_snr": True}),
    "flow": NoiseSchedule(*rectified_flow()),
}


def error(sampler, oracle, steps):
    times = timesteps(steps, "linspace")[:-1]  # to t = 0: the last step to the clean end is first order
    x = sampler(oracle.schedule, denoiser(oracle, "plus"), noise(8), times)
    return rms(x - flowed(oracle, noise(8), times[0], times[-1]))


@pytest.mark.parametrize("name", SCHEDULES)
def test_heun_is_of_second_order(name):
    oracle = Oracle(schedule=SCHEDULES[name])
    coarse, fine = (error(heun, oracle, steps) for steps in (20, 40))
    assert fine / coarse < 0.3
    assert fine < 0.1 * error(ddim, oracle, 40)


def heun_in_units_of_the_picture(schedule, denoise, x, times):
    """The usual way to write it: in x / alpha, with the mean of the noise alone."""
    for pair in pairwise(times):
        t, s = (torch.full((len(x),), time) for time in pair)
        here = denoise(x, t)
        there = denoise(ddim_step(schedule, here, t, s, 0.0, x), s)
        mean = Prediction.of("noise", 0.5 * (here.noise + there.noise), x, here.alpha, here.sigma)
        x = ddim_step(schedule, mean, t, s, 0.0, x)
    return x


def test_heun_survives_a_start_with_next_to_no_signal():
    """A cosine schedule starts at alpha = 5e-5, by which an error of the noise must not be divided."""
    oracle, times = Oracle(schedule=NoiseSchedule.from_betas(cosine_betas())), timesteps(10)
    walk = (oracle.schedule, denoiser(oracle, "plus"), noise(8), times[:-1])
    exact = flowed(oracle, noise(8), times[0], times[-2])
    assert rms(heun(*walk) - exact) < rms(ddim(*walk) - exact)
    assert rms(heun_in_units_of_the_picture(*walk) - exact) > 100 * rms(ddim(*walk) - exact)


@pytest.mark.parametrize("name", SCHEDULES)
def test_dpm_solver_is_of_second_order(name):
    oracle = Oracle(schedule=SCHEDULES[name])
    coarse, fine = (error(dpm_solver, oracle, steps) for steps in (60, 120))
    assert fine / coarse < 0.42
    assert fine < 0.7 * error(ddim, oracle, 120)


def test_heun_asks_twice_a_step_but_for_the_last():
    oracle = Oracle()
    heun(oracle.schedule, denoiser(oracle), noise(3), timesteps(10))
    assert oracle.batches == [3] * 19


def test_euler_is_ddim_on_straight_paths():
    oracle = Oracle(schedule=SCHEDULES["flow"])
    walk = (oracle.schedule, denoiser(oracle), noise(16), timesteps(12))
    assert (euler_flow(*walk) - ddim(*walk)).abs().max() < 1e-12


def test_euler_refuses_paths_that_are_not_straight():
    oracle = Oracle()
    with pytest.raises(ValueError, match="needs a rectified flow"):
        euler_flow(oracle.schedule, denoiser(oracle), noise(2), timesteps(5))


def test_a_flow_towards_one_point_takes_one_step():
    oracle = Oracle(std=1e-9, schedule=SCHEDULES["flow"])
    x = euler_flow(oracle.schedule, denoiser(oracle, "plus"), noise(4), timesteps(1))
    assert torch.allclose(x, torch.ones_like(x), atol=1e-6)
