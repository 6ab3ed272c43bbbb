"""Zero-1-to-3's checkpoints: their layouts, their pose, and what their network is told."""

import math
import shutil

import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.diffusion.guided import guided
from distill3d.diffusion.zero123 import Zero123, pose_numbers
from tests.diffusion.zero123_folders import zero123_folder


def orbit(azimuth, elevation, distance=3.0):
    angles = [torch.deg2rad(torch.tensor(v, dtype=torch.float32)) for v in (azimuth, elevation)]
    return Cameras.orbit(*angles, distance)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return zero123_folder(tmp_path_factory.mktemp("zero123") / "model")


@pytest.fixture(scope="module")
def prior(folder):
    return Zero123(Zero123.Config(model=str(folder)))


def square(seed=0):
    rgba = torch.rand(32, 32, 4, generator=torch.Generator().manual_seed(seed))
    return torch.cat([rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]], -1)


def test_the_pose_is_that_of_the_published_code():
    found = pose_numbers(orbit([90.0, 30.0], [40.0, 10.0], 3.5), orbit([0.0], [10.0]), "zero123")
    expected = [
        [-math.radians(30), 1.0, 0.0, 0.5],
        [0.0, math.sin(math.radians(30)), math.cos(math.radians(30)), 0.5],
    ]
    assert torch.allclose(found, torch.tensor(expected), atol=1e-5)
    stable = pose_numbers(orbit([90.0], [40.0], 3.5), orbit([0.0], [10.0]), "stable")
    assert torch.allclose(stable, torch.tensor([[-math.radians(30), 1.0, 0.0, math.radians(80)]]), atol=1e-5)


def test_the_network_is_told_what_the_papers_pipeline_tells_it(prior):
    picture, here, there = square(), orbit([0.0], [10.0]), orbit([60.0], [30.0])
    reference = prior.remember(picture, here)
    x_t, t = torch.randn(prior.x_shape(1), generator=torch.Generator().manual_seed(1)), torch.tensor([600])
    found = prior.denoise(x_t, t, prior.seen_from(reference, there)).noise

    pose = torch.tensor([[-math.radians(20), math.sin(math.radians(60)), math.cos(math.radians(60)), 0.0]])
    token = prior.projection(torch.cat([reference.vector, pose], -1))[:, None]
    white = picture[..., :3] + 1 - picture[..., 3:]
    small = torch.nn.functional.interpolate(white.permute(2, 0, 1)[None], (16, 16), mode="bilinear", antialias=True)
    latent = prior.codec.vae.encode(2 * small - 1).latent_dist.mode()  # of the size of x_t, and not scaled
    expected = prior.unet(torch.cat([x_t, latent], 1), t, encoder_hidden_states=token).sample
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(prior.denoise(x_t, t, prior.seen_from(reference, here)).noise, expected, atol=1e-4)
    other = prior.remember(square(7), here)
    assert not torch.allclose(prior.denoise(x_t, t, prior.seen_from(other, there)).noise, expected, atol=1e-4)


def test_guidance_moves_away_from_no_picture_and_no_camera(prior):
    condition = prior.seen_from(prior.remember(square(), orbit([0.0], [0.0])), orbit([0.0, 90.0], [0.0, 0.0]))
    empty = condition.unconditional
    assert empty.text.abs().sum() == empty.image.abs().sum() == 0
    x_t, t = torch.randn(prior.x_shape(2), generator=torch.Generator().manual_seed(1)), torch.tensor([600, 300])
    with_it, without = (prior.denoise(x_t, t, c).noise for c in (condition, empty))
    mixed = guided(prior, x_t, t, condition, 3.0).noise
    assert torch.allclose(mixed, without + 3 * (with_it - without), atol=1e-4)


def test_both_published_layouts_are_read_alike(prior, folder, tmp_path):
    other = zero123_folder(tmp_path / "other", "cc_projection")
    found = Zero123(Zero123.Config(model=str(other))).projection.state_dict()
    assert set(found) == {"projection.weight", "projection.bias"}
    assert [v.shape for v in found.values()] == [v.shape for v in prior.projection.state_dict().values()]


@pytest.mark.parametrize("missing", ["image_encoder", "clip_camera_projection", "unet"])
def test_a_folder_that_is_not_whole_is_refused_before_anything_is_loaded(folder, tmp_path, missing):
    shutil.copytree(folder, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / missing)
    with pytest.raises(UserError, match=missing):
        Zero123.examine(Zero123.Config(model=str(tmp_path / "copy")))
    Zero123.examine(Zero123.Config(model=str(folder)))


def test_a_prompt_is_refused(prior):
    with pytest.raises(UserError, match="no prompt"):
        prior.condition("a chair")
