"""Samplers against each other, against diffusers, and against the distribution they should draw."""

import itertools

import diffusers
import pytest
import torch

from distill3d.diffusion.guided import guided
from distill3d.diffusion.sampling import ddim, ddim_step, ddpm, sample, timesteps
from tests.oracles import STABLE_DIFFUSION, Oracle


@pytest.fixture
def oracle():
    return Oracle()


def unconditional(oracle):
    condition = oracle.condition("")
    return lambda x, t: oracle.denoise(x, t, condition)


def start(batch, seed=0):
    return torch.randn(batch, 2, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("steps", [1, 2, 7, 30, 75, 999, 1000])
def test_times_fall_to_the_clean_end(spacing, steps):
    times = timesteps(steps, spacing)
    assert len(times) == steps + 1
    assert times[-1] == -1
    assert all(t > s for t, s in itertools.pairwise(times))
    assert times[0] <= 999
    if spacing != "leading":
        assert times[0] == 999
    if spacing == "leading" or (spacing == "linspace" and steps > 1):
        assert times[-2] == 0


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("steps", [10, 30, 50])
def test_times_agree_with_diffusers(spacing, steps):
    theirs = diffusers.DDIMScheduler(timestep_spacing=spacing)
    theirs.set_timesteps(steps)
    assert timesteps(steps, spacing)[:-1] == theirs.timesteps.tolist()


def test_more_steps_than_the_schedule_has_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        timesteps(1001)


def test_p4_ddim_with_eta_one_is_ancestral_sampling_step_for_step(oracle):
    walks = {}
    for name, sampler, options in (("ddpm", ddpm, {}), ("ddim", ddim, {"eta": 1.0}), ("half", ddim, {"eta": 0.5})):
        walks[name] = []
        generator = torch.Generator().manual_seed(1)
        sampler(
            oracle.schedule,
            unconditional(oracle),
            start(8),
            timesteps(40),
            generator=generator,
            callback=lambda step, name=name: walks[name].append(step.x_s),
            **options,
        )
    difference = [(a - b).abs().max() for a, b in zip(walks["ddpm"], walks["ddim"], strict=True)]
    assert max(difference) < 1e-9
    assert (walks["ddpm"][20] - walks["half"][20]).abs().max() > 1e-2


def test_p8_a_step_is_undone_by_the_step_back(oracle):
    x, t, s = start(8), torch.full((8,), 600), torch.full((8,), 400)
    prediction = unconditional(oracle)(x, t)
    zero = torch.zeros_like(x)
    moved = ddim_step(oracle.schedule, prediction, t, s, 0.0, zero)
    there = type(prediction).of("noise", prediction.noise, moved, *oracle.schedule.at(s, moved))
    assert (ddim_step(oracle.schedule, there, s, t, 0.0, zero) - x).abs().max() < 1e-12


def test_a_ddim_step_agrees_with_diffusers(oracle):
    theirs = diffusers.DDIMScheduler(**STABLE_DIFFUSION, clip_sample=False, set_alpha_to_one=True)
    theirs.set_timesteps(50)
    times = timesteps(50, "leading")
    x = start(4).float()
    ours = ddim(oracle.schedule, unconditional(oracle), x, times)
    for t in theirs.timesteps:
        noise = unconditional(oracle)(x, t.expand(4)).noise
        x = theirs.step(noise, t, x).prev_sample
    assert (ours - x).abs().max() < 1e-4


def test_the_same_seed_draws_the_same_bits(oracle):
    def draw(seed, eta):
        generator = torch.Generator().manual_seed(seed)
        return ddim(oracle.schedule, unconditional(oracle), start(8), timesteps(10), eta, generator=generator)

    assert torch.equal(draw(3, 0.0), draw(4, 0.0))
    assert torch.equal(draw(3, 1.0), draw(3, 1.0))
    assert not torch.equal(draw(3, 1.0), draw(4, 1.0))


@pytest.mark.parametrize("sampler", ["ddim", "ddpm small", "ddpm large"])
def test_samples_have_the_moments_of_the_data(oracle, sampler):
    batch = 1500
    generator = torch.Generator().manual_seed(2)
    walk = (oracle.schedule, unconditional(oracle), start(batch), timesteps(200))
    with torch.no_grad():
        if sampler == "ddim":
            x = ddim(*walk)
        else:
            x = ddpm(*walk, variance=sampler.split()[1], generator=generator)
    positive = x.flatten(1).mean(1) > 0
    assert abs(positive.double().mean() - 0.5) < 3 * 0.5 / batch**0.5
    for mode, mean in ((x[positive], 1.0), (x[~positive], -1.0)):
        assert abs(mode.mean() - mean) < 0.03
        assert abs(mode.std() - 0.5) < 0.025


def test_the_moments_tell_a_coarse_walk_from_a_fine_one(oracle):
    """Negative control of the test above: ten ancestral steps draw classes that are too narrow."""

    def std(steps):
        generator = torch.Generator().manual_seed(2)
        x = ddpm(oracle.schedule, unconditional(oracle), start(1000), timesteps(steps), generator=generator)
        means = x.flatten(1).mean(1).sign().reshape(-1, 1, 1, 1)
        return (x - means).std().item()

    with torch.no_grad():
        coarse, fine = std(10), std(100)
    assert coarse < 0.45 < fine < 0.53


def test_the_variances_are_those_of_the_two_posteriors(oracle):
    added, x, t, s = {}, start(50), torch.full((50,), 600), torch.full((50,), 500)
    mean, _ = oracle.schedule.posterior(x, unconditional(oracle)(x, t).clean, t, s)
    for variance in ("small", "large"):
        walk = (oracle.schedule, unconditional(oracle), x, [600, 500])
        added[variance] = ddpm(*walk, variance=variance, generator=torch.Generator().manual_seed(2)) - mean
    ratio = (oracle.schedule.step_variance(t, s).sqrt() / oracle.schedule.sigma_eta(t, s)).reshape(-1, 1, 1, 1)
    assert torch.allclose(added["large"], ratio * added["small"], atol=1e-12)
    assert ratio.min() > 1.05


def test_guidance_raises_class_accuracy_and_narrows_the_class(oracle):
    condition = oracle.condition("plus")
    spread = []
    with torch.no_grad():
        for scale in (0.0, 1.0, 4.0):
            x = ddim(
                oracle.schedule,
                lambda x, t, s=scale: guided(oracle, x, t, condition, s),
                start(500),
                timesteps(50),
            )
            spread.append(((x.flatten(1).mean(1) > 0).double().mean().item(), x.flatten(1).mean(1).std().item()))
    assert spread[0][0] < 0.6
    assert spread[1][0] == spread[2][0] == 1.0
    assert spread[0][1] > spread[1][1] > spread[2][1]


def test_clipping_holds_the_clean_guess_in_its_limits(oracle):
    seen = []
    walk = (oracle.schedule, unconditional(oracle), start(200), timesteps(20))
    x = ddim(*walk, clip=(-0.5, 0.5), callback=lambda step: seen.append(step.prediction.clean.abs().max().item()))
    assert max(seen) <= 0.5
    assert x.abs().max() <= 0.5
    assert ddim(*walk).abs().max() > 0.5


def test_sample_gives_pictures_of_what_was_asked_for():
    means = torch.stack([torch.full((3, 2, 2), 0.5), torch.full((3, 2, 2), -0.5)]).double()
    oracle = Oracle(means, ("bright", "dark"), std=0.1, clip_range=(-1.0, 1.0))
    pictures = sample(
        oracle,
        oracle.condition(["bright", "dark"]),
        steps=20,
        cfg_scale=1.0,
        generator=torch.Generator().manual_seed(0),
    )
    assert pictures.shape == (2, 2, 2, 3)
    assert pictures[0].mean() > 0.7
    assert pictures[1].mean() < 0.3
