"""Identities I1 to I7 on the oracle."""

import itertools

import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.diffusion.ddim import ddim
from distill3d.diffusion.guided import guided_denoiser
from distill3d.diffusion.inversion import ddim_invert, edit_friendly_invert, edit_friendly_replay, invert
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.sampling import sample
from distill3d.diffusion.timesteps import timesteps
from tests.diffusion.walks import data, denoiser, noise, rms, seeded
from tests.oracles import Oracle


@pytest.fixture
def oracle():
    return Oracle()


def round_trip(oracle, steps, iterations=1, up=1.0, down=1.0, batch=32):
    """RMS error of inverting at scale `up` and generating at scale `down`, for the class "plus"."""
    x, times, plus = 1 + 0.5 * noise(batch), timesteps(steps), oracle.condition("plus")
    with torch.no_grad():
        there = ddim_invert(oracle.schedule, guided_denoiser(oracle, plus, up), x, times, iterations)
        return rms(ddim(oracle.schedule, guided_denoiser(oracle, plus, down), there, times) - x)


def test_i1_replayed_with_the_noises_that_it_took_it_comes_back_exactly(oracle):
    x, times, taken = data(8), timesteps(20), []
    keep = taken.append
    there = ddim_invert(oracle.schedule, denoiser(oracle), x, times, callback=lambda s: keep(s.prediction.noise))
    back = iter(reversed(taken))

    def cached(x_t, t):
        return Prediction.of("noise", next(back), x_t, *oracle.schedule.at(t, x_t))

    assert rms(ddim(oracle.schedule, cached, there, times) - x) < 1e-13
    assert rms(ddim(oracle.schedule, denoiser(oracle), there, times) - x) > 1e-3


def test_i2_the_error_of_plain_inversion_falls_like_one_over_steps(oracle):
    errors = [round_trip(oracle, steps) for steps in (25, 50, 100)]
    assert errors[1] < 0.06
    assert all(0.4 < b / a < 0.62 for a, b in itertools.pairwise(errors))


def test_i3_as_a_fixed_point_the_round_trip_is_exact(oracle):
    assert round_trip(oracle, 50, iterations=3) < 1e-3
    assert round_trip(oracle, 50, iterations=12) < 1e-9
    assert round_trip(oracle, 10, iterations=20) < 1e-8
    assert round_trip(oracle, 50, iterations=1) > 1e-2


def test_i4_another_scale_on_the_way_down_does_not_come_back_however_many_steps(oracle):
    """It is no error of discretisation: what null-text inversion is for."""
    coarse, fine = (round_trip(oracle, steps, up=1.0, down=3.0) for steps in (40, 100))
    assert fine > 0.1
    assert fine / coarse > 0.8
    assert round_trip(oracle, 100, up=3.0, down=3.0) < 0.5 * fine


def test_i5_a_high_scale_both_ways_comes_back_like_one_over_steps(oracle):
    errors = [round_trip(oracle, steps, up=7.5, down=7.5) for steps in (30, 60, 120)]
    assert all(0.35 < b / a < 0.65 for a, b in itertools.pairwise(errors))


def test_i6_the_inverted_noise_is_standard_normal_at_scale_one_only(oracle):
    x, times = data(1000), timesteps(100)
    plus = oracle.condition("plus")
    with torch.no_grad():
        there = ddim_invert(oracle.schedule, denoiser(oracle), x, times)
        pushed = ddim_invert(oracle.schedule, guided_denoiser(oracle, plus, 4.0), x, times)
    assert abs(there.mean()) < 0.05
    assert abs(there.std() - 1) < 0.03
    ranks = there.flatten(1).sort(0).values
    expected = torch.distributions.Normal(0.0, 1.0).cdf(ranks)
    steps = (torch.arange(1000, dtype=torch.float64)[:, None] + 0.5) / 1000
    assert (expected - steps).abs().max() < 1.63 / 1000**0.5  # Kolmogorov and Smirnov at 1 % for each pixel
    assert abs(pushed.std() - 1) > 0.1 or abs(pushed.mean()) > 0.1


def test_i7_edit_friendly_noises_lead_back_to_the_picture(oracle):
    x, times = data(64), timesteps(50, "leading")
    with torch.no_grad():
        kept = edit_friendly_invert(oracle.schedule, denoiser(oracle), x, times, generator=seeded(0))
        assert rms(edit_friendly_replay(oracle.schedule, denoiser(oracle), kept) - x) < 1e-12
        assert rms(edit_friendly_replay(oracle.schedule, denoiser(oracle), kept, skip=20) - x) < 1e-12
        as_published = rms(edit_friendly_replay(oracle.schedule, denoiser(oracle), kept, keep_last=False) - x)
    assert 0.01 < as_published < 0.06  # the last step alone
    assert kept.z[:-1].var() > 1.5
    assert kept.path.shape == kept.z.shape == (50, 64, 2, 2, 2)


def test_an_edit_by_another_condition_follows_it_and_keeps_the_rest(oracle):
    x, times = 1 + 0.5 * noise(64), timesteps(50)
    with torch.no_grad():
        kept = edit_friendly_invert(oracle.schedule, denoiser(oracle, "plus"), x, times, generator=seeded(0))
        edited = edit_friendly_replay(oracle.schedule, denoiser(oracle, "minus"), kept)
        fresh = ddim(oracle.schedule, denoiser(oracle, "minus"), noise(64, 3), times)
    assert abs(edited.mean() + 1) < 0.1

    def kinship(made):  # how much of what is the picture's own is still there
        return torch.corrcoef(torch.stack([(made + 1).flatten(), (x - 1).flatten()]))[0, 1]

    assert kinship(edited) > 0.9
    assert kinship(fresh) < 0.3


def test_pictures_there_and_back_again():
    means = torch.stack([torch.full((3, 2, 2), 0.5), torch.full((3, 2, 2), -0.5)]).double()
    oracle = Oracle(means, ("bright", "dark"), std=0.3)
    images = 0.75 + 0.05 * torch.randn(4, 2, 2, 3, dtype=torch.float64, generator=seeded(0))
    condition = oracle.condition(["bright"] * 4)
    plain, fixed = (invert(oracle, images, condition, steps=20, iterations=k) for k in (1, 20))
    back = [sample(oracle, condition, 20, cfg_scale=1.0, start=x) for x in (plain, fixed)]
    assert rms(back[1] - images) < 1e-6 < rms(back[0] - images)
    with pytest.raises(UserError, match="the prior takes pictures of 2 x 2 pixels, RGB, got of 3 x 3 pixels, RGB"):
        invert(oracle, torch.zeros(1, 3, 3, 3), condition)
