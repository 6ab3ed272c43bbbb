"""DDS, PDS and SDS on a picture, for a prior of pixels and one of latents, both of toy width."""

from __future__ import annotations

import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.guidance.delta import delta_denoising
from distill3d.guidance.picture_edit import PictureEdit, edit_picture, gradient
from distill3d.guidance.posterior import identity_weights, posterior_distillation
from tests.diffusion.folders import embedded_folder, stable_diffusion_folder


@pytest.fixture(scope="module", params=[embedded_folder, stable_diffusion_folder], ids=["pixels", "latents"])
def prior(request, tmp_path_factory):
    folder = request.param(tmp_path_factory.mktemp("prior"))
    return DiffusionPrior(DiffusionPrior.Config(model=str(folder)))


def case(prior, before="a red mushroom", after="a blue mushroom"):
    picture = torch.rand(1, prior.resolution, prior.resolution, prior.channels, generator=seeded())
    return picture, prior.condition(after), prior.condition(before)


def seeded():
    return torch.Generator().manual_seed(4)


@pytest.mark.parametrize("method", ["dds", "pds", "sds"])
def test_two_equal_sentences_keep_the_picture_to_the_bit(prior, method):
    picture, after, before = case(prior)
    how = PictureEdit.suited_to(prior, method, None, 1.0)
    same = edit_picture(prior, picture, before, before, how, 3, generator=seeded())
    assert torch.equal(same, picture) == (method != "sds")  # which knows no source
    other = edit_picture(prior, picture, after, before, how, 3, generator=seeded())
    assert not torch.equal(other, picture)


def test_the_gradients_are_the_published_ones(prior):
    picture, after, before = case(prior)
    source = prior.encode(picture)
    x, noise = (source + 0.1 * torch.randn(source.shape, generator=seeded()) for _ in range(2))
    t = torch.tensor([400])
    seen = (prior, x, source, t, noise, after, before)
    dds = gradient(*seen, PictureEdit("dds"))
    clip = prior.clip_range is not None  # the published functions do not know of limits
    assert clip or torch.allclose(dds, delta_denoising(*seen, 7.5), atol=1e-6)
    _, chi = identity_weights(prior.schedule, t)
    pds = gradient(*seen, PictureEdit("pds"))
    assert clip or torch.allclose(pds * chi.item(), posterior_distillation(*seen, 7.5), atol=1e-6)
    assert (pds - dds).abs().max() > 1e-4  # the way back
    exact = gradient(*seen, PictureEdit("pds", reading="exact"))
    assert torch.allclose(exact, dds, atol=1e-5)


def test_what_the_mask_keeps_comes_back_to_the_bit(prior):
    picture, after, before = case(prior)
    keep = torch.zeros(1, prior.resolution, prior.resolution)
    keep[:, : prior.resolution // 2] = 1
    how = PictureEdit.suited_to(prior, "dds", None, 1.0)
    made = edit_picture(prior, picture, after, before, how, 2, keep, seeded())
    assert torch.equal(made[keep > 0.5], picture[keep > 0.5])
    assert not torch.equal(made[keep < 0.5], picture[keep < 0.5])


def test_weaker_edits_see_less_noise(prior):
    weak, full = (PictureEdit.suited_to(prior, "dds", None, strength) for strength in (0.3, 1.0))
    assert weak.timesteps[1] == pytest.approx(0.3 * full.timesteps[1])
    assert weak.timesteps[0] <= weak.timesteps[1]


def test_a_picture_of_another_size_is_refused(prior):
    picture, after, before = case(prior)
    with pytest.raises(UserError, match="the prior takes pictures"):
        edit_picture(prior, picture[:, 1:], after, before, PictureEdit("dds"), 1)
