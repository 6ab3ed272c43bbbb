"""Identities P4 to P8 on the oracle."""

import itertools

import pytest
import torch

from distill3d.diffusion.ddim import ddim, ddim_step
from distill3d.diffusion.ddpm import ddpm
from distill3d.diffusion.timesteps import timesteps
from tests.diffusion.walks import denoiser, flowed, noise, rms, seeded
from tests.oracles import Oracle


@pytest.fixture
def oracle():
    return Oracle()


def path(oracle, sampler, times=None, batch=8, **options):
    """x after every step, with the same draws."""
    seen = []
    options |= {"generator": seeded(1), "callback": lambda step: seen.append(step.x_s)}
    sampler(oracle.schedule, denoiser(oracle), noise(batch), times or timesteps(40), **options)
    return torch.stack(seen)


def test_p4_eta_one_is_ancestral_sampling_step_for_step(oracle):
    ancestral = path(oracle, ddpm)
    assert (path(oracle, ddim, eta=1.0) - ancestral).abs().max() < 1e-9
    assert (path(oracle, ddim, eta=0.5) - ancestral).abs().max() > 1e-2


def test_sigma_hat_is_ancestral_sampling_with_the_large_variance(oracle):
    large = path(oracle, ddpm, variance="large")
    assert (path(oracle, ddim, eta="sigma-hat") - large).abs().max() < 1e-9
    assert (path(oracle, ddim, eta=1.0) - large).abs().max() > 1e-2


def test_p5_the_direction_shrinks_by_eta_squared_times_the_variance(oracle):
    x, t, s = noise(8), torch.full((8,), 600), torch.full((8,), 400)
    prediction = denoiser(oracle)(x, t)
    (alpha, sigma), variance = oracle.schedule.at(s, x), oracle.schedule.sigma_eta(t, s)[0] ** 2
    for eta in (0.3, 0.7):
        mean = ddim_step(oracle.schedule, prediction, t, s, eta, torch.zeros_like(x))
        direction = (mean - alpha * prediction.clean) / prediction.noise
        assert torch.allclose(direction**2, sigma**2 - eta**2 * variance, atol=1e-12)
        # Negative control: eta, not squared, as one published code has it.
        assert not torch.allclose(direction**2, sigma**2 - eta * variance, atol=1e-3)


def test_p8_a_step_is_undone_by_the_step_back(oracle):
    x, t, s = noise(8), torch.full((8,), 600), torch.full((8,), 400)
    prediction = denoiser(oracle)(x, t)
    zero = torch.zeros_like(x)
    moved = ddim_step(oracle.schedule, prediction, t, s, 0.0, zero)
    there = type(prediction).of("noise", prediction.noise, moved, *oracle.schedule.at(s, moved))
    assert (ddim_step(oracle.schedule, there, s, t, 0.0, zero) - x).abs().max() < 1e-12
    elsewhere = denoiser(oracle)(moved, s)  # negative control: another e does not lead back
    assert (ddim_step(oracle.schedule, elsewhere, s, t, 0.0, zero) - x).abs().max() > 1e-2


def test_the_error_against_the_exact_flow_falls_like_the_step(oracle):
    errors = []
    for steps in (20, 40, 80):
        times = timesteps(steps, "linspace")[:-1]
        x = ddim(oracle.schedule, denoiser(oracle, "plus"), noise(32), times)
        errors.append(rms(x - flowed(oracle, noise(32), 999, 0)))
    assert all(0.45 < b / a < 0.6 for a, b in itertools.pairwise(errors))


def test_the_same_seed_draws_the_same_bits(oracle):
    def draw(seed, eta):
        return ddim(oracle.schedule, denoiser(oracle), noise(8), timesteps(10), eta, generator=seeded(seed))

    assert torch.equal(draw(3, 0.0), draw(4, 0.0))
    assert torch.equal(draw(3, 1.0), draw(3, 1.0))
    assert not torch.equal(draw(3, 1.0), draw(4, 1.0))


def test_few_steps_want_little_noise(oracle):
    """The order of the paper's table 1 at ten steps, by the width of the classes drawn."""
    errors = []
    for eta in (0.0, 0.5, 1.0, "sigma-hat"):
        x = ddim(oracle.schedule, denoiser(oracle), noise(2000), timesteps(10), eta, generator=seeded(2)).detach()
        mode = x.flatten(1).mean(1).sign().reshape(-1, 1, 1, 1)
        errors.append(abs((x - mode).std().item() - 0.5))
    assert errors[0] < errors[1] < errors[2]


def test_clipping_holds_the_clean_guess_in_its_limits(oracle):
    seen = []
    walk = (oracle.schedule, denoiser(oracle), noise(200), timesteps(20))
    x = ddim(*walk, clip=(-0.5, 0.5), callback=lambda step: seen.append(step.prediction.clean.abs().max().item()))
    assert max(seen) <= 0.5
    assert x.abs().max() <= 0.5
    assert ddim(*walk).abs().max() > 0.5
