"""SDEdit on the oracle: what it keeps, what it gains, and exactness at its ends."""

import itertools

import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.repaint import inpaint
from distill3d.diffusion.sdedit import edit, sdedit
from distill3d.diffusion.timesteps import started_at, timesteps
from tests.diffusion.folders import stable_diffusion_folder
from tests.diffusion.walks import data, denoiser, noise, rms, seeded
from tests.oracles import Oracle


@pytest.fixture
def oracle():
    return Oracle()


def strokes(batch=200):
    """Pictures that are not of the data: halfway to a class, and far too even."""
    return 0.4 + 0.05 * noise(batch, 3)


def far(batch=200):
    """Strokes whose pixels are pulled apart, which no picture of the data has."""
    return strokes(batch) + 1.5 * torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(4).reshape(1, 2, 2, 2)


def walked(oracle, guide, start, steps=50, **options):
    times = started_at(timesteps(steps), start)
    with torch.no_grad():
        return sdedit(oracle.schedule, denoiser(oracle), guide, times, generator=seeded(0), **options)


def realism(oracle, x):
    """Mean log density of the data at x, up to a constant."""
    return oracle.log_density(x, torch.full((len(x),), -1)).mean().item()


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_later_start_is_less_faithful_and_more_real(oracle, eta):
    guide = far()
    made = [walked(oracle, guide, round(share * 1000), eta=eta) for share in (0.2, 0.35, 0.5, 0.65, 0.8)]
    faults = [rms(x - guide) for x in made]
    real = [realism(oracle, x) for x in made]
    assert all(a < b for a, b in itertools.pairwise([0.0, *faults]))
    assert all(a < b for a, b in itertools.pairwise([realism(oracle, guide), *real[:4]]))
    assert abs(real[4] - realism(oracle, data(2000))) < 1.0


def test_no_walk_gives_the_guide_back(oracle):
    guide = strokes(4)
    assert torch.equal(walked(oracle, guide, -1), guide)
    assert not torch.equal(walked(oracle, guide, 300), guide)


def test_what_the_mask_keeps_is_kept_to_the_bit(oracle):
    guide, keep = strokes(8), torch.zeros(1, 2, 2, 2, dtype=torch.bool)
    keep[:, 0] = True
    made = walked(oracle, guide, 700, keep_mask=keep)
    assert torch.equal(made[:, 0], guide[:, 0])
    assert (made[:, 1] - guide[:, 1]).abs().min() > 0
    assert not torch.equal(walked(oracle, guide, 700)[:, 0], guide[:, 0])
    everything = walked(oracle, guide, 700, keep_mask=torch.ones_like(keep))
    assert torch.equal(everything, guide)


def test_the_kept_part_meets_the_walk_at_its_own_level_of_noise(oracle):
    """alpha_s x_0 + sigma_s z at every s, with a fresh z; one published code is a level off, with one z for all."""
    guide, keep, seen = 100 * (1 + strokes(400)), torch.zeros(1, 2, 2, 2, dtype=torch.bool), []
    keep[:, 0] = True
    walked(oracle, guide, 700, 10, keep_mask=keep, callback=seen.append)
    noises = []
    for step in seen[:-1]:
        signal = (step.x_s / guide)[:, 0].mean()
        assert abs(signal - oracle.schedule.alpha[step.s]) < 1e-3
        assert abs(signal - oracle.schedule.alpha[step.t]) > 1e-2
        alpha, sigma = oracle.schedule.at(torch.full((400,), step.s), guide)
        noises.append(((step.x_s - alpha * guide) / sigma)[:, 0].flatten())
        assert abs(noises[-1].std() - 1) < 0.09
    assert torch.corrcoef(torch.stack(noises)).fill_diagonal_(0).abs().max() < 0.12


def test_repeats_start_from_the_last_result(oracle):
    seen = []
    once, thrice = (walked(oracle, far(), 350, repeats=k, callback=seen.append) for k in (1, 3))
    assert len(seen) == 4 * (len(started_at(timesteps(50), 350)) - 1)
    assert realism(oracle, thrice) > realism(oracle, once) + 0.1


@pytest.fixture
def prior():
    """Pictures of 2 x 2 pixels, bright or dark."""
    means = torch.stack([torch.full((3, 2, 2), 0.5), torch.full((3, 2, 2), -0.5)]).double()
    return Oracle(means, ("bright", "dark"), std=0.1, clip_range=(-1.0, 1.0))


def test_a_dark_picture_becomes_bright_where_it_may(prior):
    images = torch.full((2, 2, 2, 3), 0.2, dtype=torch.float64)
    keep = torch.tensor([[[True, False], [False, False]]])
    bright = prior.condition(["bright"] * 2)
    made = edit(prior, images, bright, 0.9, 20, cfg_scale=1.0, generator=seeded(0))
    assert made.shape == images.shape
    assert made.mean() > 0.7
    partly = edit(prior, images, bright, 0.9, 20, cfg_scale=1.0, keep_mask=keep, generator=seeded(0))
    assert torch.equal(partly[:, 0, 0], images[:, 0, 0])
    assert partly[:, 1].mean() > 0.7
    assert torch.equal(edit(prior, images, bright, 0.0), images)
    assert made.mean() > edit(prior, images, bright, 0.1, 20, cfg_scale=1.0, generator=seeded(0)).mean()


def test_what_does_not_fit_is_one_clear_line(prior):
    images, bright = torch.zeros(1, 2, 2, 3), prior.condition("bright")
    with pytest.raises(UserError, match="the mask is 3 x 2 pixels, the prior's pictures are 2 x 2"):
        edit(prior, images, bright, keep_mask=torch.ones(1, 3, 2))
    with pytest.raises(UserError, match="takes pictures of 2 x 2 pixels, RGB, got of 2 x 2 pixels, RGBA"):
        edit(prior, torch.zeros(1, 2, 2, 4), bright)


def test_a_latent_prior_edits_and_fills_pixels_too(tmp_path):
    """Kept pixels are exact, though its cells are larger and its decoder returns nothing exactly."""
    latent = DiffusionPrior(DiffusionPrior.Config(model=str(stable_diffusion_folder(tmp_path))))
    size = latent.resolution
    images = torch.rand(2, size, size, 3, generator=seeded(0))
    keep = torch.ones(1, size, size, dtype=torch.bool)
    keep[:, :5, :7] = False  # no whole number of cells
    told = latent.condition(["a red mushroom"] * 2)
    for made in (
        edit(latent, images, told, 0.6, 4, 2.0, keep, generator=seeded(1)),
        inpaint(latent, torch.where(keep[..., None], images, torch.nan), keep, told, 4, 2.0, 2, 2, seeded(1)),
    ):
        assert made.shape == images.shape
        assert torch.equal(made[keep.expand(2, -1, -1)], images[keep.expand(2, -1, -1)])
        assert (made[:, :5, :7] - images[:, :5, :7]).abs().mean() > 1e-3
    assert not torch.equal(edit(latent, images, told, 0.6, 4, 2.0, generator=seeded(1)), images)
