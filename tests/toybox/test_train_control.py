"""Training a ControlNet, tiny: it learns from its hints, resumes to the same bytes, and is loaded by the one door."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.diffusion.hint import Hint
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.toybox.dataset import make_batch
from distill3d.toybox.hints import depth_hint, edge_hint
from distill3d.toybox.raycast import MISS
from distill3d.toybox.train_control import ControlSettings, ControlTrainer, main, train_control
from tests.toybox.test_train_latent import trainer as latent_trainer
from tests.toybox.trainings import check_resuming

SETTINGS = ControlSettings(pictures=640, batch=8, lr=3e-3, warmup=4)


def started(folder, prior, **changes):
    return ControlTrainer(folder, replace(SETTINGS, **changes), "cpu", prior)


def steps(control, count):
    for _ in range(count):
        control.advance(make_batch(5, control.step, SETTINGS.batch, 16, hint=control.settings.kind))
    return control


def test_the_right_hint_comes_to_help_and_a_wrong_one_to_harm(tmp_path, small_prior):
    control = started(tmp_path, small_prior)
    before = control.gate()
    assert before["right"] == before["wrong"] == before["none"]  # untrained it changes nothing
    after = steps(control, 40).gate()
    assert after["none"] == before["none"]  # the prior stands still
    assert after["right"] < 0.92 * after["none"]
    assert after["right"] < 0.9 * after["wrong"]


def test_stopping_and_resuming_gives_the_bytes_of_never_stopping(tmp_path, small_prior):
    resumed = check_resuming(partial(started, prior=small_prior), steps, tmp_path)
    edge = started(tmp_path / "halves", small_prior, kind="edge")
    with pytest.raises(UserError, match="a training of the kind depth, not edge"):
        edge.load()
    fresh = edge.control.state_dict()["controlnet_mid_block.weight"].clone()
    edge.start_from(tmp_path / "whole" / "control")
    begun, taught = (c.state_dict()["controlnet_mid_block.weight"] for c in (edge.control, resumed.average))
    assert torch.allclose(begun, taught, atol=1e-4)  # half precision lies between
    assert not torch.allclose(begun, fresh, atol=1e-4)
    with pytest.raises(UserError, match=r"nothing.*config\.json is missing"):
        edge.start_from(tmp_path / "nothing")


def test_a_training_logs_and_its_folder_is_loaded_as_a_controlnet(tmp_path, small_prior):
    train_control(tmp_path, replace(SETTINGS, kind="edge", pictures=32), "cpu", False, 60, small_prior)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows[0]["pictures"] == 32
    assert set(rows[-1]["hint_gate"]) == {"right", "wrong", "none"}
    door = DiffusionPrior(DiffusionPrior.Config(model=small_prior, control=[{"model": str(tmp_path / "control")}]))
    x, t = torch.randn(door.x_shape(2), generator=torch.Generator().manual_seed(0)), torch.tensor([500, 800])
    one, other = (
        door.denoise(x, t, door.condition(["a red cube", "a cone"], control=hint)).clean
        for hint in (None, Hint(torch.ones(1, 16, 16, 1)))
    )
    assert not torch.equal(one, other)


def test_a_latent_priors_controlnet_listens_and_hears_the_caption_too(tmp_path):
    """On one batch, which it comes to know by heart: a prior so small has nothing to say of other pictures."""
    taught = latent_trainer()
    for _ in range(25):
        taught.advance()
    taught.save(tmp_path)
    control = started(tmp_path / "control", str(tmp_path / "prior"))
    batch, t = make_batch(5, 0, 8, 16, hint="depth"), torch.full((8,), 700)
    noise = torch.randn(control.prior.x_shape(8), generator=torch.Generator().manual_seed(0))
    seen = control.shown(batch, 0)
    assert seen.pictures.shape[-1] == 3
    control.shown = lambda batch, seed: seen

    @torch.no_grad()
    def error(hints, captions=batch.captions):
        told = replace(seen, captions=captions)
        return float(control.errors(control.control, told, hints, t, noise, False).mean())

    before = error(batch.hints)
    assert before == error(batch.hints.roll(1, 0))  # untrained it changes nothing
    for _ in range(40):
        control.advance(batch)
    after = error(batch.hints)
    assert after < 0.93 * before
    assert after < 0.97 * error(batch.hints.roll(1, 0))
    assert abs(error(batch.hints, [""] * 8) - after) > 1e-5
    control.save()
    networks = [{"model": str(tmp_path / "control" / "control")}]
    door = DiffusionPrior(DiffusionPrior.Config(model=str(tmp_path / "prior"), control=networks))
    x, t, hint = noise[:1], torch.tensor([500]), Hint(torch.ones(1, 16, 16, 1))
    one, other = (door.denoise(x, t, door.condition("a cone", control=shown)).clean for shown in (None, hint))
    assert not torch.equal(one, other)


def test_hints_say_depth_and_edges_and_leave_the_pictures_alone():
    plain, depth, edge = (make_batch(3, 0, 6, 64, hint=kind) for kind in (None, "depth", "edge"))
    assert plain.hints is None
    assert torch.equal(plain.pictures, depth.pictures)
    assert torch.equal(plain.pictures, edge.pictures)
    covered = depth.pictures[..., 3:] > 0
    assert torch.equal(depth.hints > 0, covered)
    outline = edge.hints.bool()
    assert edge.hints.unique().tolist() == [0, 1]
    assert 0.01 < outline.float().mean() < 0.2

    map_ = np.full((4, 4), MISS)
    map_[1, 1], map_[2, 2], map_[1, 2] = 2.0, 4.0, 3.0
    assert depth_hint(map_)[1, 1] == 1
    assert depth_hint(map_)[2, 2] == pytest.approx(0.25)
    assert depth_hint(map_)[1, 2] == pytest.approx(0.625)
    assert depth_hint(map_)[0, 0] == 0
    assert depth_hint(map_, 2)[0, 0] == pytest.approx(0.25)
    assert not edge_hint(np.full((8, 8, 4), 0.5)).any()


def test_what_cannot_be_trained_is_said_first(tmp_path):
    with pytest.raises(UserError, match="--pictures must be positive"):
        main(["--kind", "depth", "--pictures", "0", "--out", str(tmp_path / "a")])
    with pytest.raises(UserError, match="no training to resume"):
        main(["--kind", "depth", "--resume", "--out", str(tmp_path / "a")])
    assert not (tmp_path / "a").exists()
