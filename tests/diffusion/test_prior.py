"""The door: real networks of toy width, in both folder layouts."""

import socket

import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.diffusion.guided import branches, guided
from distill3d.diffusion.prior import DiffusionPrior, Prior
from tests.diffusion.folders import embedded_folder, stable_diffusion_folder


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    return Prior.build({"kind": "diffusion", "model": str(embedded_folder(tmp_path_factory.mktemp("embedded")))})


@pytest.fixture(scope="module")
def latent(tmp_path_factory):
    return Prior.build({"kind": "diffusion", "model": str(stable_diffusion_folder(tmp_path_factory.mktemp("latent")))})


def front_and_back():
    return Cameras.orbit(torch.tensor([0.0, 3.1]))


def noisy(prior, batch=2):
    x = torch.randn(prior.x_shape(batch), generator=torch.Generator().manual_seed(0))
    return x, torch.tensor([300, 700][:batch])


def test_the_embedded_layout_says_what_it_can(embedded):
    assert (embedded.channels, embedded.resolution, embedded.background) == (4, 32, 0.5)
    assert embedded.sees_cameras
    assert embedded.sees_alpha
    assert embedded.predicts == "velocity"
    assert embedded.x_shape(3) == (3, 64, 8, 8)
    assert {p.dtype for p in embedded.parameters()} == {torch.float32}  # the text encoder lies there in float16
    assert not any(p.requires_grad for p in embedded.parameters())


def test_the_stable_diffusion_layout_says_what_it_can(latent):
    assert (latent.channels, latent.resolution, latent.background) == (3, 16, None)
    assert not latent.sees_cameras
    assert not latent.sees_alpha
    assert latent.predicts == "noise"
    assert latent.clip_range is None


def test_pixels_come_back_from_the_embedded_prior(embedded):
    images = torch.rand(2, 32, 32, 4, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(embedded.decode(embedded.encode(images)), images, atol=1e-6)


def test_latents_carry_gradient_to_the_picture(latent):
    images = torch.rand(2, 16, 16, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    x = latent.encode(images)
    assert x.shape == (2, 4, 8, 8)
    x.sum().backward()
    assert images.grad.abs().sum() > 0
    assert latent.decode(x).shape == images.shape
    one, other = (latent.encode(images, torch.Generator().manual_seed(s)) for s in (0, 1))
    assert not torch.equal(one, other)
    assert torch.equal(latent.encode(images), x)


@pytest.mark.parametrize("name", ["embedded", "latent"])
def test_a_prediction_explains_the_noisy_picture(name, request):
    prior = request.getfixturevalue(name)
    x_t, t = noisy(prior)
    seen = prior.denoise(x_t, t, prior.condition("a red mushroom", front_and_back()))
    assert torch.allclose(seen.alpha * seen.clean + seen.sigma * seen.noise, x_t, atol=1e-4)


@pytest.mark.parametrize("name", ["embedded", "latent"])
def test_branches_in_one_batch_are_those_one_by_one(name, request):
    prior = request.getfixturevalue(name)
    x_t, t = noisy(prior)
    condition = prior.condition("a red mushroom", front_and_back())
    together = branches(prior, x_t, t, [condition, condition.unconditional])
    alone = [prior.denoise(x_t, t, c).noise for c in (condition, condition.unconditional)]
    for a, b in zip(together, alone, strict=True):
        assert torch.allclose(a.noise, b, atol=1e-4)
    assert not torch.allclose(alone[0], alone[1], atol=1e-3)
    assert torch.equal(guided(prior, x_t, t, condition, 1).noise, alone[0])


def test_the_camera_reaches_the_network(embedded):
    x_t, t = noisy(embedded)
    there = embedded.denoise(x_t, t, embedded.condition("a chair", front_and_back())).noise
    turned = embedded.denoise(x_t, t, embedded.condition("a chair", front_and_back()[torch.tensor([1, 0])])).noise
    nowhere = embedded.denoise(x_t, t, embedded.condition(["a chair"] * 2)).noise
    assert (there - turned).abs().max() > 1e-3
    assert (there - nowhere).abs().max() > 1e-3


def test_the_unconditional_branch_keeps_the_camera_unless_told(embedded):
    kept = embedded.condition("a chair", front_and_back(), light=0.0)
    dropped = embedded.condition("a chair", front_and_back(), drop_view=True)
    assert torch.equal(kept.unconditional.view, kept.view)
    assert kept.view[:, -1].tolist() == [0.0, 0.0]
    assert not dropped.unconditional.view.any()
    assert torch.equal(kept.unconditional.text, embedded.condition(["", ""]).text)
    assert not torch.equal(kept.unconditional.text, kept.text)


def test_a_negative_prompt_takes_the_place_of_the_empty_one(embedded):
    negative = embedded.condition("a chair", front_and_back(), negative="a blue mushroom")
    assert torch.equal(negative.unconditional.text, embedded.condition(["a blue mushroom"] * 2).text)


def test_words_that_the_prior_does_not_know(embedded):
    assert embedded.text.unknown_words("a green mushroom, front view") == ["green"]


def test_prompts_must_fit_the_cameras(embedded):
    with pytest.raises(ValueError, match="3 prompts for 2 pictures"):
        embedded.condition(["a", "b", "c"], front_and_back())


def test_shards_are_one_model(tmp_path):
    whole = DiffusionPrior(DiffusionPrior.Config(model=str(embedded_folder(tmp_path / "whole"))))
    folder = embedded_folder(tmp_path / "shards", shards="40KB")
    assert len(list((folder / "unet").glob("*.safetensors"))) > 1
    sharded = DiffusionPrior(DiffusionPrior.Config(model=str(folder)))
    for a, b in zip(whole.unet.parameters(), sharded.unet.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_folder_needs_no_network(tmp_path, monkeypatch):
    folder = embedded_folder(tmp_path)

    def refuse(*_args, **_kwargs):
        raise AssertionError("the network was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    DiffusionPrior(DiffusionPrior.Config(model=str(folder)))
