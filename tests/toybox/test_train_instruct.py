"""Training the instruction model, tiny: it begins as the prior, learns, resumes to the same bytes, and is loaded by the
one door with its two scales."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.diffusion.guided import branches, guided
from distill3d.diffusion.instruct import instructed
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.toybox.edit_pairs import make_pairs
from distill3d.toybox.train_instruct import InstructSettings, InstructTrainer, dropped, main, train_instruct
from tests.toybox.trainings import check_resuming

SETTINGS = InstructSettings(pictures=640, batch=8, lr=3e-3, warmup=4)
PRIOR = DiffusionPrior.Config


def started(folder, prior, **changes):
    return InstructTrainer(folder, replace(SETTINGS, **changes), "cpu", prior)


def steps(taught, count):
    for _ in range(count):
        taught.advance(make_pairs(5, taught.step, SETTINGS.batch, 16))
    return taught


def test_it_begins_as_the_prior_to_the_bit_whatever_the_picture_is(tmp_path, small_prior):
    started(tmp_path, small_prior).save()
    before = DiffusionPrior(PRIOR(model=small_prior))
    after = DiffusionPrior(PRIOR(model=str(tmp_path / "prior")))
    assert (before.sees_image, after.sees_image) == (False, True)
    x, t = torch.randn(before.x_shape(2), generator=torch.Generator().manual_seed(0)), torch.tensor([500, 800])
    plain = before.denoise(x, t, before.condition(["a red cube", "a cone"])).clean
    pictures = torch.rand(2, 16, 16, 4, generator=torch.Generator().manual_seed(1))
    beside = after.denoise(x, t, after.condition(["a red cube", "a cone"], image=pictures)).clean
    assert torch.allclose(plain, beside, atol=2e-5)  # a sum over more channels goes in another order
    told = after.denoise(x, t, after.condition(["a red cube", "a cone"], image=1 - pictures)).clean
    assert torch.equal(beside, told)


def test_the_picture_comes_to_be_heard(tmp_path, small_prior):
    taught = started(tmp_path, small_prior)
    before = taught.gate()
    assert before["right"] == before["no_picture"]  # untrained it does not see it
    after = steps(taught, 25).gate()
    assert after["right"] < 0.95 * before["right"]
    assert after["right"] < 0.95 * after["no_picture"]  # words are heard later: tests/toybox/test_shipped_instruct.py


def test_without_text_alone_the_picture_stays(tmp_path, small_prior):
    batch = make_pairs(6, 0, 4, 16)
    settings = InstructSettings(drop_text=0.25, drop_picture=0.25, drop_both=0.25)
    told, seen = dropped(batch, torch.tensor([0.1, 0.3, 0.6, 0.9]), settings)
    assert told.instructions == ["", batch.instructions[1], "", batch.instructions[3]]
    assert seen[:, 0].tolist() == [1, 0, 0, 1]
    assert torch.equal(told.after[0], batch.before[0])
    assert torch.equal(told.after[1:], batch.after[1:])
    assert not torch.equal(batch.after[0], batch.before[0])


def test_stopping_and_resuming_gives_the_bytes_of_never_stopping(tmp_path, small_prior):
    check_resuming(partial(started, prior=small_prior), steps, tmp_path)


def test_a_training_logs_and_what_it_saves_hears_two_scales(tmp_path, small_prior):
    train_instruct(tmp_path, replace(SETTINGS, pictures=80, lr=1e-2), "cpu", False, 60, small_prior)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows[0]["pictures"] == 80
    assert set(rows[-1]["instruction_gate"]) == {"right", "wrong", "none", "no_picture"}
    door = DiffusionPrior(PRIOR(model=str(tmp_path / "prior")))
    assert door.unknown_words("make the hat blue") == []
    x, t = torch.randn(door.x_shape(1), generator=torch.Generator().manual_seed(0)), torch.tensor([600])
    condition = door.condition("make it blue", image=torch.rand(1, 16, 16, 4))
    told, seen, nothing = condition, condition.unconditional, condition.unconditional.unconditional
    e, e_seen, e_nothing = (p.noise for p in branches(door, x, t, [told, seen, nothing]))
    expected = e_nothing + 1.5 * (e_seen - e_nothing) + 4 * (e - e_seen)
    assert torch.allclose(guided(door, x, t, *instructed(condition, 4, 1.5)).noise, expected, atol=1e-4)
    assert not torch.allclose(e, e_seen, atol=1e-4)
    assert not torch.allclose(e_seen, e_nothing, atol=1e-4)
    with pytest.raises(UserError, match="sees a picture already"):
        started(tmp_path / "again", prior=str(tmp_path / "prior"))


def test_what_cannot_be_trained_is_said_first(tmp_path, small_prior):
    with pytest.raises(UserError, match="--pictures is at least a batch of 16"):
        main(["--pictures", "8", "--out", str(tmp_path / "a")])
    with pytest.raises(UserError, match="--lr must be positive"):
        main(["--lr", "0", "--out", str(tmp_path / "a")])
    with pytest.raises(UserError, match="no training to resume"):
        main(["--resume", "--out", str(tmp_path / "a"), "--model", small_prior])
    assert not (tmp_path / "a").exists()
