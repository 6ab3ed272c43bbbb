"""Training the miniature of Stable Diffusion, tiny: both stages learn, resume to the same bytes, and make a folder that
the one door and diffusers open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from distill3d.cli import main
from distill3d.core.errors import UserError
from distill3d.diffusion.aliases import TOYBOX
from distill3d.diffusion.folder import local
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.toybox.color_start import keep_colors
from distill3d.toybox.known_words import start_from_known_words
from distill3d.toybox.latent_model import LatentShape, make_autoencoder
from distill3d.toybox.train_autoencoder import AutoencoderSettings, toy_pictures, train_autoencoder
from distill3d.toybox.train_latent import LatentSettings, LatentTrainer, captioned_pictures
from distill3d.toybox.training_state import FILE, falling_rate

SHAPE = LatentShape(size=16, autoencoder=(8, 8), channels=(8, 16), heads=(1, 2), text_width=16, text_layers=1)
FIRST = AutoencoderSettings(crops=24, whole=8, crop=8, batch=4)
SETTINGS = LatentSettings(pictures=400, batch=8, lr=3e-3, warmup=2)


def codec(shape=SHAPE):
    torch.manual_seed(0)
    vae = make_autoencoder(shape)
    keep_colors(vae)
    return vae.eval().requires_grad_(False)


def trainer(settings=SETTINGS):
    return LatentTrainer(codec(), SHAPE, settings, None)


def mean_loss(started, steps):
    return float(torch.stack([started.advance()[0].mean() for _ in range(steps)]).mean())


def test_an_autoencoder_begins_with_the_colours_and_not_without_its_lanes():
    pictures = toy_pictures(1, 0, 8, 64)[0]
    torch.manual_seed(0)
    vae = make_autoencoder(LatentShape()).eval()
    with torch.no_grad():
        drawn = float((vae(pictures).sample - pictures).square().mean())
        keep_colors(vae)
        begun = float((vae(pictures).sample - pictures).square().mean())
    assert begun < 0.5 * float(pictures.var()) < drawn  # the variance is the error of the best flat picture


def test_the_first_stage_resumes_to_the_bytes_of_never_stopping(tmp_path):
    whole = train_autoencoder(tmp_path / "whole", SHAPE, FIRST, False, 60.0)
    halved = tmp_path / "halves"
    first_half = replace(FIRST, crops=12, whole=4)
    assert first_half.steps == FIRST.steps // 2
    with pytest.MonkeyPatch.context() as patch:  # a first half must not know that it is one: the rate falls over all
        patch.setattr("distill3d.toybox.train_autoencoder.falling_rate", lambda s, n, w, d: falling_rate(s, 8, w, d))
        train_autoencoder(halved, SHAPE, replace(first_half, crops=16, whole=0), False, 60.0)
    resumed = train_autoencoder(halved, SHAPE, FIRST, True, 60.0)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert whole.config.scaling_factor == resumed.config.scaling_factor != 1.0


def test_the_second_stage_learns_and_without_a_learning_rate_it_does_not():
    learning, idle = trainer(), trainer(replace(SETTINGS, lr=0.0))
    first, _, last = (mean_loss(learning, 8) for _ in range(3))
    assert last < 0.92 * first
    before = {k: v.clone() for k, v in idle.network.state_dict().items()}
    mean_loss(idle, 2)
    assert all(torch.equal(before[k], v) for k, v in idle.network.state_dict().items())


def test_the_second_stage_resumes_to_the_bytes_of_never_stopping(tmp_path):
    whole, half = trainer(), trainer()
    for _ in range(4):
        whole.advance()
    for _ in range(2):
        half.advance()
    half.save(tmp_path / "halves")
    resumed = trainer(replace(SETTINGS))
    resumed.load(tmp_path / "halves")
    assert resumed.step == 2
    for _ in range(2):
        resumed.advance()
    for part, network in whole.networks().items():
        for name, value in network.state_dict().items():
            assert torch.equal(value, resumed.networks()[part].state_dict()[name]), (part, name)
    with pytest.raises(UserError, match="no training to resume"):
        trainer().load(tmp_path / "nothing")
    with pytest.raises(UserError, match="another shape"):
        LatentTrainer(codec(), replace(SHAPE, channels=(8, 24)), SETTINGS, None).load(tmp_path / "halves")


def test_what_is_saved_is_opened_by_the_one_door_and_by_diffusers_to_the_same_velocity(tmp_path):
    started = trainer()
    started.advance()
    started.save(tmp_path)
    assert load_file(tmp_path / "prior" / "unet" / "diffusion_pytorch_model.safetensors")["conv_in.weight"].dtype == (
        torch.float16
    )
    prior = DiffusionPrior(DiffusionPrior.Config(model=str(tmp_path / "prior")))
    pipe = StableDiffusionPipeline.from_pretrained(str(tmp_path / "prior"))
    assert (prior.predicts, prior.resolution, prior.sees_alpha, prior.sees_cameras) == ("velocity", 16, False, False)
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    words, _ = pipe.encode_prompt("a red cube", "cpu", 1, False)
    t = torch.tensor([400])
    theirs = pipe.unet(x, t, encoder_hidden_states=words).sample
    ours = prior.denoise(x, t, prior.condition("a red cube")).velocity
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    other = prior.denoise(x, t, prior.condition("a blue cube")).velocity
    assert not torch.equal(other, ours)


def test_captions_tell_the_view_and_are_dropped_as_often_as_said():
    settings = replace(SETTINGS, kinds="frequent")
    captions = captioned_pictures(1, 0, 400, 8, settings)[1]
    empty = sum(caption == "" for caption in captions) / 400
    told = sum(caption.endswith(" view") for caption in captions) / 400
    assert abs(empty - 0.1) < 0.06
    assert abs(told - 0.63) < 0.08
    for name in ("front", "side", "back", "overhead"):
        assert any(caption.endswith(f", {name} view") for caption in captions)
    assert not any("octopus" in caption for caption in captions)
    assert captioned_pictures(1, 0, 4, 8, replace(settings, drop_text=1.0))[1] == [""] * 4


def test_words_that_are_known_are_not_learnt_again():
    started = LatentTrainer(codec(LatentShape()), LatentShape(), SETTINGS, local(TOYBOX))
    fresh = LatentTrainer(codec(LatentShape()), LatentShape(), SETTINGS, None)
    known = DiffusionPrior(DiffusionPrior.Config(model=TOYBOX))
    vector = known.text_encoder.get_input_embeddings().weight[known.text.tokenizer.get_vocab()["mushroom"]]
    for one, same in ((started, True), (fresh, False)):
        row = one.network.tokenizer.get_vocab()["mushroom</w>"]
        assert torch.equal(one.network.text.get_input_embeddings().weight[row], vector) is same
    with pytest.raises(UserError, match="another shape"):
        start_from_known_words(trainer().network.text, trainer().network.tokenizer, local(TOYBOX))


def test_a_training_shorter_than_a_batch_is_refused(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["toybox", "train-latent", "--out", str(out), "--pictures", "3"]) == 2
    assert "--pictures is at least a batch" in capsys.readouterr().err
    assert not Path(out).exists()
    assert FILE == "training.safetensors"
