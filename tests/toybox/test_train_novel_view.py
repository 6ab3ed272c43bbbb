"""Training the novel-view model, tiny: it begins as the prior, comes to hear the picture, resumes to the same
bytes, and what it saves is a prior that turns pictures."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.diffusion.pixel_novel_view import PixelNovelView
from distill3d.diffusion.pose_search import moved
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.view import view_vector
from distill3d.toybox.model import tokenize
from distill3d.toybox.novel_view_model import Told
from distill3d.toybox.train_novel_view import (
    NovelViewSettings,
    NovelViewTrainer,
    dropped,
    main,
    train_novel_view,
)
from distill3d.toybox.view_pairs import make_view_pairs
from tests.toybox.test_train import advance, trainer

SETTINGS = NovelViewSettings(pictures=640, batch=8, lr=3e-3, warmup=4)


@pytest.fixture(scope="module")
def prior(tmp_path_factory):
    """A prior of 16 pixels that has learnt a little."""
    folder = tmp_path_factory.mktemp("prior")
    advance(trainer(folder), 20).save()
    return str(folder / "prior")


def started(folder, prior, **changes):
    return NovelViewTrainer(folder, replace(SETTINGS, **changes), "cpu", prior)


def steps(taught, count):
    for _ in range(count):
        taught.advance(make_view_pairs(5, taught.step, SETTINGS.batch, 16))
    return taught


def test_it_begins_as_the_prior_whatever_picture_is_given(tmp_path, prior):
    taught = started(tmp_path, prior)
    plain = DiffusionPrior(DiffusionPrior.Config(model=prior))
    x, t = torch.randn(plain.x_shape(2), generator=torch.Generator().manual_seed(0)), torch.tensor([500, 800])
    captions, cameras = ["a red cube", "a cone"], Cameras.orbit(torch.tensor([0.3, 2.0]), 0.4)
    expected = plain.denoise(x, t, plain.condition(captions, cameras)).clean
    given = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    view, other = view_vector(cameras), view_vector(cameras[1])
    told = Told(tokenize(taught.tokenizer, captions), view, other.expand(2, -1), given)
    with torch.no_grad():
        ours, _ = taught.denoiser(x, t, told)
        again, _ = taught.denoiser(x, t, replace(told, given=-given, given_view=view))
        turned, _ = taught.denoiser(x, t, replace(told, view=other.expand(2, -1)))
    assert torch.allclose(ours, expected, atol=1e-4)
    assert torch.equal(again, ours)
    assert not torch.allclose(turned, ours, atol=1e-4)


def test_the_picture_comes_to_be_heard(tmp_path, prior):
    taught = started(tmp_path, prior)
    before = taught.gate(16)
    assert before["right"] == before["no picture"]  # untrained it does not see it
    after = steps(taught, 40).gate(16)
    assert after["right"] < 0.95 * before["right"]
    assert after["right"] < 0.98 * after["other picture"]  # how much: tests/toybox/test_shipped_novel_view.py
    assert after["given"] == before["given"]


def test_pictures_texts_and_everything_are_dropped_in_their_shares():
    told = Told(torch.full((4, 3), 7), torch.ones(4, 16), torch.ones(4, 16), torch.ones(4, 2, 2, 2))
    settings = NovelViewSettings(drop_picture=0.25, drop_text=0.25, drop_all=0.25)
    left = dropped(told, torch.tensor([0.1, 0.3, 0.6, 0.9]), torch.zeros(3, dtype=torch.long), settings)
    assert left.tokens[:, 0].tolist() == [7, 0, 0, 7]
    assert left.view[:, 0].tolist() == [1, 1, 0, 1]
    assert left.given_view[:, 0].tolist() == [0, 1, 0, 1]
    assert left.given[:, 0, 0, 0].tolist() == [0, 1, 0, 1]


def test_stopping_and_resuming_gives_the_bytes_of_never_stopping(tmp_path, prior):
    steps(started(tmp_path / "whole", prior), 2).save()
    steps(started(tmp_path / "halves", prior), 1).save()
    resumed = started(tmp_path / "halves", prior)
    resumed.load()
    assert resumed.step == 1
    steps(resumed, 1).save()
    steps(started(tmp_path / "other", prior, seed=1), 2).save()
    whole, halves, other = (
        {name: tensor.numpy().tobytes() for name, tensor in load_file(tmp_path / run / "training.safetensors").items()}
        for run in ("whole", "halves", "other")
    )
    assert whole == halves
    assert whole != other


def test_a_training_logs_and_what_it_saves_turns_pictures(tmp_path, prior):
    train_novel_view(tmp_path, replace(SETTINGS, pictures=80, lr=1e-2), "cpu", False, 60, prior)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows[0]["pictures"] == 80
    told = {"right", "azimuth + 90", "azimuth + 180", "other picture", "no picture", "no text", "given"}
    assert set(rows[-1]["view_gate"]) == told
    made = PixelNovelView(PixelNovelView.Config(model=str(tmp_path / "model")))
    assert (made.channels, made.resolution, made.background) == (4, 16, 0.5)
    batch = make_view_pairs(9, 0, 2, 16)
    picture = batch.given[0].clone()
    picture[..., :3] -= 0.5 * (1 - picture[..., 3:])  # premultiplied, as runs have it
    reference = made.remember(picture, batch.references[0], prompt="a red cube")
    assert reference.sight.caption == "a red cube"
    condition = made.seen_from(reference, batch.cameras)
    x, t = torch.randn(made.x_shape(2), generator=torch.Generator().manual_seed(0)), torch.tensor([600, 800])
    seen = made.denoise(x, t, condition).clean
    trained = load_trained(tmp_path, prior)
    sight = reference.sight
    front, lens = torch.tensor(sight.azimuth), (torch.tensor([sight.zoom]), torch.tensor([sight.shift]))
    over = moved(picture, *lens)
    over = torch.cat([over[..., :3] + 0.5 * (1 - over[..., 3:]), over[..., 3:]], -1)
    turn = front - batch.references.azimuth[0]  # what the toy is thought to have been turned by
    c, r = batch.cameras, batch.references[0]
    both = Cameras.orbit(front.expand(2), *(v.expand(2) for v in (r.elevation, r.distance, r.fov)), 16)
    alone = replace(
        batch,
        given=torch.cat([over, over]),
        captions=["a red cube", "a red cube"],
        lights=torch.ones(2),
        references=both,
        cameras=Cameras.orbit(c.azimuth + turn, c.elevation, c.distance, c.fov, 16),
    )
    with torch.no_grad():
        expected, _ = trained.average(x, t, trained.told(alone))
    assert torch.allclose(seen, expected, atol=2e-2)  # the folder's weights are in half precision
    blind = made.denoise(x, t, condition.unconditional).clean
    assert not torch.allclose(seen, blind, atol=2e-2)


def load_trained(folder, prior):
    trained = started(folder, prior)
    trained.load()
    return trained


def test_what_cannot_be_trained_is_said_first(tmp_path, prior):
    with pytest.raises(UserError, match="--pictures is at least a batch of 16"):
        main(["--pictures", "8", "--out", str(tmp_path / "a")])
    with pytest.raises(UserError, match="--lr must be positive"):
        main(["--lr", "0", "--out", str(tmp_path / "a")])
    with pytest.raises(UserError, match="no training to resume"):
        main(["--resume", "--out", str(tmp_path / "a"), "--model", prior])
    assert not (tmp_path / "a").exists()


def test_a_folder_that_is_none_is_named(tmp_path, prior):
    with pytest.raises(UserError, match="no such folder"):
        PixelNovelView(PixelNovelView.Config(model="sd15"))
    with pytest.raises(UserError, match=r"captions\.json"):
        PixelNovelView(PixelNovelView.Config(model=prior))
    steps(started(tmp_path, prior), 1).save()
    made = PixelNovelView(PixelNovelView.Config(model=str(tmp_path / "model")))
    with pytest.raises(UserError, match="needs a picture"):
        made.condition("a red cube", Cameras.orbit(0.0))
