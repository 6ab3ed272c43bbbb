"""Training the views to see each other, tiny: it begins as the prior, moves the attention alone, resumes to the same
bytes, and what it saves is loaded by the one door."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.diffusion.multi_view import MultiViewPrior
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.toybox.train_multi_view import (
    ATTENTION,
    MultiViewSettings,
    MultiViewTrainer,
    main,
    mixing,
    told,
    train_multi_view,
)
from distill3d.toybox.view_groups import make_groups
from tests.toybox.trainings import check_resuming

SETTINGS = MultiViewSettings(pictures=640, batch=8, lr=3e-3, warmup=4)


def started(folder, prior, **changes):
    return MultiViewTrainer(folder, replace(SETTINGS, **changes), "cpu", prior)


def steps(taught, count):
    for _ in range(count):
        taught.advance(make_groups(5, taught.step, SETTINGS.batch // 4, 16))
    return taught


@torch.no_grad()
def test_it_begins_as_the_prior_to_the_bit(tmp_path, small_prior):
    taught = started(tmp_path, small_prior)
    x, t = torch.randn(taught.prior.x_shape(4), generator=torch.Generator().manual_seed(0)), torch.full((4,), 700)
    condition = taught.prior.condition("a red cube", make_groups(5, 0, 1, 16).cameras)
    plain = taught.prior.denoise(x, t, condition).clean
    door = DiffusionPrior(DiffusionPrior.Config(model=small_prior))
    torch.testing.assert_close(door.denoise(x, t, condition).clean, plain, atol=2e-5, rtol=0)  # of another layout
    for network in (taught.attention, taught.average):
        taught.prior.joint_canvas = network
        assert torch.equal(taught.prior.denoise(x, t, condition).clean, plain)
    torch.nn.init.normal_(taught.attention.paint.weight, std=0.1)
    taught.prior.joint_canvas = taught.attention
    assert not torch.allclose(taught.prior.denoise(x, t, condition).clean, plain, atol=1e-3)


@pytest.mark.parametrize("whole", [False, True])
def test_a_step_changes_the_attention_and_nothing_else(tmp_path, small_prior, whole):
    taught = started(tmp_path, small_prior, whole=whole)
    taught.prior.joint_canvas = None
    networks = {"prior": taught.prior, **taught.networks()}
    before = {name: {k: v.clone() for k, v in n.state_dict().items()} for name, n in networks.items()}
    steps(taught, 2)
    taught.prior.joint_canvas = None
    changed = {
        name: {k for k, v in network.state_dict().items() if not torch.equal(v, before[name][k])}
        for name, network in networks.items()
    }
    assert changed["prior"] == set()
    assert changed["attention"] == changed["average"] == set(before["attention"])


def test_what_is_said_of_a_group_is_said_of_all_its_views():
    batch = make_groups(6, 0, 3, 16)
    settings = MultiViewSettings(drop_text=0.25, drop_color=0.25)
    said = told(batch, torch.tensor([0.1, 0.3, 0.6]), settings)
    assert said == [""] * 4 + [batch.open_captions[1]] * 4 + [batch.captions[2]] * 4


def test_mixed_groups_have_a_view_of_each_of_four_toys_in_its_place():
    assert mixing(4, 4).tolist() == [0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12, 1, 6, 11]
    assert sorted(mixing(5, 3).tolist()) == list(range(15))


def test_one_batch_is_learnt_and_without_a_learning_rate_it_is_not(tmp_path, small_prior):
    """That views come to hear each other takes thousands of pictures: tests/toybox/test_shipped_multi_view.py."""
    batch, t = make_groups(5, 0, 2, 16), torch.full((8,), 700)
    noise = torch.randn(8, 64, 4, 4, generator=torch.Generator().manual_seed(0))
    said = [caption for caption in batch.captions for _ in range(4)]
    found = {}
    for rate in (0.0, 1e-2):
        taught = started(tmp_path / str(rate), small_prior, lr=rate, drop_text=0.0, drop_color=0.0, whole=True)
        for _ in range(30):
            taught.advance(batch)
        with torch.no_grad():
            found[rate] = float(taught.errors(taught.attention, batch, said, t, noise).mean())
            found[None] = float(taught.errors(None, batch, said, t, noise).mean())
    assert found[0.0] == found[None]
    assert found[1e-2] < 0.9 * found[None]


def test_stopping_and_resuming_gives_the_bytes_of_never_stopping(tmp_path, small_prior):
    check_resuming(partial(started, prior=small_prior), steps, tmp_path, ("training.safetensors", ATTENTION))


def test_a_training_logs_and_the_door_takes_what_it_saves(tmp_path, small_prior):
    train_multi_view(tmp_path, replace(SETTINGS, pictures=40, lr=1e-2), "cpu", False, 60, small_prior)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows[0]["pictures"] == 40
    assert set(rows[-1]["view_gate"]) == {"0.5", "0.7", "0.9", "0.97"}
    file = str(tmp_path / ATTENTION)
    door = MultiViewPrior(MultiViewPrior.Config(model=small_prior, attention=file))
    plain = MultiViewPrior(MultiViewPrior.Config(model=small_prior))
    x, t = torch.randn(door.x_shape(4), generator=torch.Generator().manual_seed(0)), torch.full((4,), 700)
    condition = door.condition("a cone", make_groups(5, 0, 1, 16).cameras)
    with torch.no_grad():
        assert not torch.allclose(door.denoise(x, t, condition).clean, plain.denoise(x, t, condition).clean, atol=1e-4)
    with pytest.raises(UserError, match="belongs to another prior"):
        MultiViewPrior(MultiViewPrior.Config(attention=file))  # the embedded prior is larger


def test_what_cannot_be_trained_is_said_first(tmp_path, small_prior):
    for words, says in (
        (["--pictures", "8"], "--pictures is at least a batch of 32"),
        (["--batch", "10"], "--batch is a multiple of --views, 4"),
        (["--views", "1"], "--views is at least 2"),
        (["--lr", "0"], "--lr must be positive"),
        (["--resume", "--model", small_prior], "no training to resume"),
        (["--model", "toybox-instruct"], "toybox-instruct is no prior of the toybox"),
    ):
        with pytest.raises(UserError, match=says):
            main([*words, "--out", str(tmp_path / "a")])
    assert not (tmp_path / "a").exists()
