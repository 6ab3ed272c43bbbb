"""Identities R1 to R6 of RePaint, and that resampling makes the hole fit."""

import itertools

import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.diffusion.ddpm import ddpm
from distill3d.diffusion.repaint import inpaint, repaint, resampling
from distill3d.diffusion.timesteps import timesteps
from tests.diffusion.walks import data, denoiser, noise, seeded
from tests.oracles import Oracle

LEFT = torch.tensor([True, False]).reshape(1, 1, 1, 2).expand(1, 2, 2, 2)  # the known half


@pytest.fixture
def oracle():
    return Oracle()


def filled(oracle, known, keep, steps=20, jump=5, repeats=1, **options):
    walk = (oracle.schedule, denoiser(oracle), known, keep, timesteps(steps), jump, repeats)
    with torch.no_grad():
        return repaint(*walk, generator=seeded(0), **options)


def test_r1_the_known_part_comes_back_to_the_bit(oracle):
    known = data(8)
    for repeats in (1, 3):
        made = filled(oracle, known, LEFT, repeats=repeats)
        assert torch.equal(made[..., 0], known[..., 0])
        assert (made[..., 1] - known[..., 1]).abs().min() > 0


def test_what_lies_in_the_hole_is_not_looked_at(oracle):
    known = data(8)
    other = torch.where(LEFT, known, torch.full_like(known, torch.nan))
    assert torch.equal(filled(oracle, known, LEFT, repeats=2), filled(oracle, other, LEFT, repeats=2))


def test_r2_the_papers_schedule():
    levels = resampling(250, 10, 10)
    down = sum(b < a for a, b in itertools.pairwise(levels))
    up = [b - a for a, b in itertools.pairwise(levels) if b > a]
    assert (levels[0], levels[-1]) == (249, -1)
    assert down == 2410
    assert sum(up) == 2160
    assert set(up) == {10}
    assert all(a - b == 1 for a, b in itertools.pairwise(levels) if b < a)
    first = list(dict.fromkeys(levels))
    assert first == list(range(249, -2, -1))


@pytest.mark.parametrize(("steps", "jump", "repeats"), [(10, 2, 2), (20, 5, 3), (21, 5, 3), (7, 10, 10)])
def test_r2_its_length_in_closed_form(steps, jump, repeats):
    levels = resampling(steps, jump, repeats)
    down = sum(b < a for a, b in itertools.pairwise(levels))
    assert down == steps + jump * (repeats - 1) * len(range(0, steps - jump, jump))


def test_r3_without_repeats_it_is_the_plain_composite():
    assert resampling(20, 1, 1) == resampling(20, 5, 1) == list(range(19, -2, -1))


def test_r5_the_known_part_is_noised_afresh_at_every_step(oracle):
    known, seen = data(400), []
    filled(oracle, known, LEFT, callback=seen.append)
    noises = []
    for step in seen[:-1]:
        alpha, sigma = oracle.schedule.at(torch.full((400,), step.s), known)
        noises.append(((step.x_s - alpha * known) / sigma)[..., 0].flatten())
        assert abs(noises[-1].std() - 1) < 0.09
    assert torch.corrcoef(torch.stack(noises)).fill_diagonal_(0).abs().max() < 0.12


def test_r6_all_kept_is_the_picture_and_none_kept_is_a_sample_of_the_same_seed(oracle):
    known = data(8)
    assert torch.equal(filled(oracle, known, torch.ones_like(LEFT)), known)
    generator = seeded(0)
    start = torch.randn(known.shape, generator=generator, dtype=known.dtype)
    with torch.no_grad():
        free = ddpm(oracle.schedule, denoiser(oracle), start, timesteps(20), generator=generator)
    assert torch.equal(filled(oracle, known, torch.zeros_like(LEFT)), free)


def test_progress_counts_the_calls(oracle):
    told = []
    filled(oracle, data(2), LEFT, steps=10, jump=2, repeats=2, callback=lambda s: told.append((s.index, s.total)))
    assert told == [(i, 18) for i in range(18)]
    assert oracle.batches == [2] * 18


def test_resampling_makes_the_hole_agree_with_what_is_known():
    """The known half says the class; how often does the other half follow it? Plain compositing often does not."""
    means = torch.stack([torch.ones(2, 2, 2), -torch.ones(2, 2, 2)]).double()
    oracle = Oracle(means, std=0.3)
    known = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(300).reshape(-1, 1, 1, 1) + 0.3 * noise(600)
    keep = torch.zeros(1, 2, 2, 2, dtype=torch.bool)
    keep[0, 0, 0, 0] = True  # little is known, so much hangs on its being heard

    def agreement(repeats):
        made = filled(oracle, known, keep, steps=20, jump=5, repeats=repeats)
        hole = made.masked_fill(keep, 0).sum((1, 2, 3)).sign()
        return (hole == known[:, 0, 0, 0].sign()).double().mean().item()

    plain, resampled = agreement(1), agreement(8)
    # Two shares of 600: three standard errors of their difference are about 0.08.
    assert resampled > plain + 0.08


def test_pictures_with_a_hole():
    means = torch.stack([torch.full((3, 2, 2), 0.5), torch.full((3, 2, 2), -0.5)]).double()
    prior = Oracle(means, ("bright", "dark"), std=0.1, clip_range=(-1.0, 1.0))
    images = torch.full((2, 2, 2, 3), 0.8, dtype=torch.float64)
    images[:, :, 1] = torch.nan  # the hole
    keep = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    made = inpaint(prior, images, keep, prior.condition(["", ""]), 20, cfg_scale=1.0, generator=seeded(0))
    assert torch.equal(made[:, :, 0], images[:, :, 0])
    assert (made[:, :, 1] - 0.75).abs().mean() < 0.15
    with pytest.raises(UserError, match="the mask is 1 x 2 pixels"):
        inpaint(prior, images, torch.ones(1, 1, 2), prior.condition(""))
