"""From a condition to pictures."""

import itertools

import pytest
import torch

from distill3d.diffusion.guided import guided_denoiser
from distill3d.diffusion.sampling import SAMPLERS, ddim, sample, timesteps
from tests.diffusion.walks import noise, seeded
from tests.oracles import Oracle


@pytest.fixture
def oracle():
    return Oracle()


@pytest.fixture
def pictures():
    """Bright and dark pictures of 2 x 2 pixels."""
    means = torch.stack([torch.full((3, 2, 2), 0.5), torch.full((3, 2, 2), -0.5)]).double()
    return Oracle(means, ("bright", "dark"), std=0.1, clip_range=(-1.0, 1.0))


def test_guidance_raises_class_accuracy_and_narrows_the_class(oracle):
    condition, spread = oracle.condition("plus"), []
    with torch.no_grad():
        for scale in (0.0, 1.0, 2.0, 4.0, 8.0):
            x = ddim(oracle.schedule, guided_denoiser(oracle, condition, scale), noise(500), timesteps(50))
            side = x.flatten(1).mean(1)
            spread.append(((side > 0).double().mean().item(), side.std().item()))
    assert spread[0][0] < 0.6
    assert all(accuracy == 1.0 for accuracy, _ in spread[1:])
    assert all(a[1] > b[1] for a, b in itertools.pairwise(spread))


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name not in ("flow", "ddpm-learned")])
def test_sample_gives_pictures_of_what_was_asked_for(pictures, sampler):
    condition = pictures.condition(["bright", "dark"])
    made = sample(pictures, condition, steps=20, cfg_scale=1.0, generator=seeded(0), sampler=sampler)
    assert made.shape == (2, 2, 2, 3)
    assert made[0].mean() > 0.7
    assert made[1].mean() < 0.3


def test_a_picture_with_its_own_generator_does_not_know_the_others(pictures):
    condition = pictures.condition(["bright", "dark", "bright"])
    three = sample(pictures, condition, 5, generator=[seeded(i) for i in range(3)], eta=1.0)
    alone = sample(pictures, pictures.condition(["dark"]), 5, generator=[seeded(1)], eta=1.0)
    assert torch.allclose(three[1:2], alone, atol=1e-12)
    assert not torch.allclose(three[1:2], sample(pictures, condition, 5, generator=seeded(0), eta=1.0)[1:2], atol=1e-3)


def test_given_noise_is_where_it_starts(pictures):
    start = noise(2)[:, :1].expand(-1, 3, -1, -1)
    first, second = (
        sample(pictures, pictures.condition(["bright", "dark"]), 5, start=start, generator=seeded(i)) for i in (0, 1)
    )
    assert torch.equal(first, second)


def test_progress_is_told_after_every_step(pictures):
    told = []
    sample(pictures, pictures.condition("dark"), 7, callback=lambda step: told.append((step.index, step.total)))
    assert told == [(i, 7) for i in range(7)]


def test_an_unknown_sampler_is_refused(pictures):
    with pytest.raises(ValueError, match="unknown sampler 'plms'"):
        sample(pictures, pictures.condition("dark"), 5, sampler="plms")
