"""Training the prior, tiny: it learns, it resumes to the same bytes, and what it saves is loaded by the one door."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.view import view_vector
from distill3d.toybox.dataset import encode, make_batch
from distill3d.toybox.gate import CAMERAS
from distill3d.toybox.model import Shape, tokenize
from distill3d.toybox.train import GATED, Settings, Trainer, learning_rate, train
from tests.toybox.trainings import check_resuming

SHAPE = Shape(
    size=16, channels=(16, 16, 32), layers=(1, 1, 1), heads=(1, 1, 2), text_width=16, text_layers=1, canvas=32
)
SETTINGS = Settings(pictures=320, batch=8, lr=3e-3, warmup=4, workers=0)


def trainer(folder, settings=SETTINGS):
    folder.mkdir(parents=True, exist_ok=True)
    return Trainer(folder, SHAPE, settings, "cpu")


def advance(started, steps):
    for _ in range(steps):
        started.advance(make_batch(SETTINGS.seed, started.step, SETTINGS.batch, SHAPE.size))
    return started


@torch.no_grad()
def held_loss(started):
    """On pictures and noise that training does not meet, always the same."""
    step, started.step = started.step, 10**6
    losses, _ = started.loss(make_batch(999, 0, 32, SHAPE.size))
    started.step = step
    return float(losses.mean())


def test_the_loss_falls_and_without_a_learning_rate_it_does_not(tmp_path):
    learning = trainer(tmp_path / "a")
    before = held_loss(learning)
    assert held_loss(advance(learning, 40)) < 0.7 * before
    idle = advance(trainer(tmp_path / "b", replace(SETTINGS, lr=0.0)), 3)
    assert held_loss(idle) == pytest.approx(before, rel=1e-6)


def test_stopping_and_resuming_gives_the_bytes_of_never_stopping(tmp_path):
    def started(folder, **changes):
        return trainer(folder, replace(SETTINGS, **changes))

    check_resuming(started, advance, tmp_path, half=4)


def test_a_training_logs_saves_and_its_folder_is_loaded_as_a_prior(tmp_path):
    train(tmp_path, SHAPE, replace(SETTINGS, pictures=32), "cpu", resume=False, save_minutes=60)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows[0]["pictures"] == 32
    assert len(rows[0]["by_timestep"]) == 8
    assert set(rows[-1]["camera_gate"]) == {*GATED, "all"}
    assert set(rows[-1]["camera_gate"]["all"]) == set(CAMERAS)

    prior = DiffusionPrior.build({"kind": "diffusion", "model": str(tmp_path / "prior"), "dtype": "float32"})
    assert prior.sees_cameras
    assert (prior.channels, prior.resolution, prior.background) == (4, 16, 0.5)
    trained = trainer(tmp_path)
    trained.load()
    cameras = Cameras.orbit(torch.tensor([0.1, 2.0]), 0.3, size=16)
    x, t = encode(make_batch(1, 0, 2, 16), trained.codec, "cpu"), torch.tensor([300, 800])
    captions = ["a red mug", "a blue car"]
    with torch.no_grad():
        ours = prior.denoise(x, t, prior.condition(captions, cameras)).clean
        network, _ = trained.average(x, t, tokenize(trained.tokenizer, captions), view_vector(cameras))
        swapped, _ = trained.average(x, t, tokenize(trained.tokenizer, captions[::-1]), view_vector(cameras))
    assert float((ours - network).abs().max()) < 5e-3  # the folder holds half precision
    assert float((network - swapped).abs().max()) > 0
    assert torch.equal(prior.text(captions), prior.text(captions))


def test_a_training_begins_with_the_weights_of_a_prior(tmp_path):
    taught = advance(trainer(tmp_path / "a"), 40)
    taught.save()
    begun, fresh = trainer(tmp_path / "b"), trainer(tmp_path / "c")
    begun.start_from(tmp_path / "a" / "prior")
    ours, theirs = begun.denoiser.state_dict(), taught.average.state_dict()
    assert all(float((ours[key] - theirs[key]).abs().max()) < 2e-3 for key in theirs)  # half precision lies between
    assert held_loss(begun) < 0.7 * held_loss(fresh)
    assert begun.step == 0


def test_a_prior_of_another_shape_or_a_folder_without_one_does_not_begin_a_training(tmp_path):
    wide = replace(SHAPE, channels=(16, 32, 32))
    Trainer(tmp_path, wide, SETTINGS, "cpu").save()
    with pytest.raises(UserError, match="unet has another shape than the network to train"):
        trainer(tmp_path / "b").start_from(tmp_path / "prior")
    with pytest.raises(UserError, match=r"nothing.*config\.json"):
        train(tmp_path / "c", SHAPE, SETTINGS, "cpu", False, 60, start=tmp_path / "nothing")
    assert not (tmp_path / "c").exists()


def test_the_learning_rate_warms_up_holds_and_falls():
    settings = Settings(pictures=16_000, batch=16, warmup=100, lr=1.0, decay_from=0.5)
    rates = [learning_rate(settings, step) for step in (0, 50, 100, 400, 750, 999)]
    assert rates[0] < rates[1] < rates[2] == rates[3] == 1.0
    assert 0.4 < rates[4] < 0.6
    assert 0.01 < rates[5] < 0.05
