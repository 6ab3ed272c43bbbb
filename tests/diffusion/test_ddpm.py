"""Ancestral sampling draws the data; its two variances; and the sampler that is not it."""

import pytest
import torch

from distill3d.diffusion.ddim import ddim
from distill3d.diffusion.ddpm import ddpm, renoise
from distill3d.diffusion.heun import heun
from distill3d.diffusion.timesteps import timesteps
from tests.diffusion.walks import denoiser, noise, seeded
from tests.oracles import Oracle

BATCH = 1500


@pytest.fixture
def oracle():
    return Oracle()


def classes(x):
    return x.flatten(1).mean(1) > 0


@pytest.mark.parametrize("name", ["ddim", "heun", "ddpm small", "ddpm large"])
def test_samples_have_the_moments_of_the_data(oracle, name):
    sampler, options, steps = ddpm, {}, 200
    if name == "ddim":
        sampler = ddim
    elif name == "heun":
        sampler, steps = heun, 50
    else:
        options = {"variance": name.split()[1]}
    with torch.no_grad():
        x = sampler(oracle.schedule, denoiser(oracle), noise(BATCH), timesteps(steps), generator=seeded(2), **options)
    positive = classes(x)
    assert abs(positive.double().mean() - 0.5) < 3 * 0.5 / BATCH**0.5
    for mode, mean in ((x[positive], 1.0), (x[~positive], -1.0)):
        assert abs(mode.mean() - mean) < 0.03
        assert abs(mode.std() - 0.5) < 0.025


def test_the_moments_tell_a_coarse_walk_from_a_fine_one(oracle):
    """Negative control of the test above: ten ancestral steps draw classes that are too narrow."""

    def std(steps):
        x = ddpm(oracle.schedule, denoiser(oracle), noise(1000), timesteps(steps), generator=seeded(2))
        means = x.flatten(1).mean(1).sign().reshape(-1, 1, 1, 1)
        return (x - means).std().item()

    with torch.no_grad():
        coarse, fine = std(10), std(100)
    assert coarse < 0.45 < fine < 0.53


def test_the_variances_are_those_of_the_two_posteriors(oracle):
    added, x, t, s = {}, noise(50), torch.full((50,), 600), torch.full((50,), 500)
    mean, _ = oracle.schedule.posterior(x, denoiser(oracle)(x, t).clean, t, s)
    for variance in ("small", "large"):
        walk = (oracle.schedule, denoiser(oracle), x, [600, 500])
        added[variance] = ddpm(*walk, variance=variance, generator=seeded(2)) - mean
    ratio = (oracle.schedule.step_variance(t, s).sqrt() / oracle.schedule.sigma_eta(t, s)).reshape(-1, 1, 1, 1)
    assert torch.allclose(added["large"], ratio * added["small"], atol=1e-12)
    assert ratio.min() > 1.05


def test_predict_then_renoise_loses_half_of_the_variance(oracle):
    """However fine the walk: the mean of what x_t may come from is narrower than what it came from, step after step."""
    with torch.no_grad():
        x = renoise(oracle.schedule, denoiser(oracle), noise(BATCH), timesteps(200), generator=seeded(2))
    positive = classes(x)
    assert abs(positive.double().mean() - 0.5) < 3 * 0.5 / BATCH**0.5
    for mode in (x[positive], x[~positive]):
        assert abs(mode.std() - 0.5 / 2**0.5) < 0.02


def test_the_tutorials_kernel_is_a_sampler_of_its_own(oracle):
    """Its noise is above that of any eta up to 1, and on its way it changes its mind about the class far more."""
    t, s = torch.arange(1, 1000), torch.arange(999)
    sigma = oracle.schedule.at(s, torch.zeros(999, 1, dtype=torch.float64))[1].flatten()
    assert (sigma > oracle.schedule.sigma_eta(t, s)).all()
    x, z = noise(4), noise(4, seed=5)
    clean = denoiser(oracle)(x, torch.full((4,), 600)).clean
    moved = renoise(oracle.schedule, denoiser(oracle), x, [600, 500], generator=seeded(5))
    assert torch.allclose(moved, oracle.schedule.add_noise(clean, z, torch.full((4,), 500)), atol=1e-14)

    def changes(sampler):
        told = []
        options = {"generator": seeded(2), "callback": lambda step: told.append(classes(step.prediction.clean))}
        with torch.no_grad():
            sampler(oracle.schedule, denoiser(oracle), noise(300), timesteps(100), **options)
        told = torch.stack(told)
        return (told[1:] != told[:-1]).double().sum(0).mean().item()

    assert changes(renoise) > 3 * changes(ddpm)
