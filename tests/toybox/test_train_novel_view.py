"""Training the novel-view model, tiny: it begins as the prior, comes to hear the picture, resumes to the same bytes,
and what it saves is a prior that turns pictures."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.diffusion.pixel_novel_view import PixelNovelView
from distill3d.diffusion.pose_search import moved
from distill3d.toybox.train_novel_view import NovelViewSettings, NovelViewTrainer, main, train_novel_view
from distill3d.toybox.view_pairs import make_view_pairs
from tests.toybox.trainings import check_resuming

SETTINGS = NovelViewSettings(pictures=640, batch=8, lr=3e-3, warmup=4)


def started(folder, prior, **changes):
    return NovelViewTrainer(folder, replace(SETTINGS, **changes), "cpu", prior)


def steps(taught, count):
    for _ in range(count):
        taught.advance(make_view_pairs(5, taught.step, SETTINGS.batch, 16))
    return taught


def test_it_begins_as_the_prior_and_comes_to_hear_the_picture(tmp_path, small_prior):
    taught = started(tmp_path, small_prior)
    before = taught.gate(16)
    for row in (before["0.5"], before["0.9"]):
        assert row["right"] == row["other picture"] == row["no picture"]  # untrained it does not see it
        assert row["azimuth + 90"] != row["right"]
    own = {name: weight.clone() for name, weight in taught.prior.state_dict().items()}
    plain, _ = canvas_errors(taught)
    steps(taught, 60)
    right, other = canvas_errors(taught)
    assert right < 0.9 * plain
    assert right < 0.97 * other
    assert all(torch.equal(weight, own[name]) for name, weight in taught.prior.state_dict().items())


@torch.no_grad()
def canvas_errors(taught):
    """Of the canvas at high noise, with the right pictures given and with those of other toys. How the denoiser uses it
    shows in `test_shipped_novel_view.py`: this prior has hardly learnt to."""
    batch = make_view_pairs(77, 0, 32, 16)
    x0, t = taught.prior.encode(batch.asked), torch.full((32,), 900)
    x_t = taught.prior.schedule.add_noise(x0, torch.randn(x0.shape, generator=torch.Generator().manual_seed(0)), t)
    others = replace(batch, given=batch.given.roll(1, 0))
    return [
        float((taught.painted(taught.average, pairs, x_t, t, batch.captions) - x0).square().mean())
        for pairs in (batch, others)
    ]


def test_stopping_and_resuming_gives_the_bytes_of_never_stopping(tmp_path, small_prior):
    check_resuming(partial(started, prior=small_prior), steps, tmp_path)


def test_a_training_logs_and_what_it_saves_turns_pictures(tmp_path, small_prior):
    train_novel_view(tmp_path, replace(SETTINGS, pictures=80, lr=1e-2), "cpu", False, 60, small_prior)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows[0]["pictures"] == 80
    told = {"right", "azimuth + 90", "azimuth + 180", "other picture", "no picture", "no text"}
    assert set(rows[-1]["view_gate"]["0.9"]) == told
    made = PixelNovelView(PixelNovelView.Config(model=str(tmp_path / "model")))
    assert (made.channels, made.resolution, made.background) == (4, 16, 0.5)
    batch = make_view_pairs(9, 0, 2, 16)
    picture = batch.given[0].clone()
    picture[..., :3] -= 0.5 * (1 - picture[..., 3:])  # premultiplied, as runs have it
    reference = made.remember(picture, batch.references[0], prompt="a red cube")
    sight = reference.sight
    assert sight.caption == "a red cube"
    condition = made.seen_from(reference, batch.cameras)
    x, t = torch.randn(made.x_shape(2), generator=torch.Generator().manual_seed(0)), torch.tensor([820, 900])
    seen = made.denoise(x, t, condition).clean

    trained = started(tmp_path, small_prior)
    trained.load()
    over = moved(picture, torch.tensor([sight.zoom]), torch.tensor([sight.shift]))
    over = torch.cat([over[..., :3] + 0.5 * (1 - over[..., 3:]), over[..., 3:]], -1)
    front = torch.tensor(sight.azimuth)
    turn = front - batch.references.azimuth[0]  # what the toy is thought to have been turned by
    c, r = batch.cameras, batch.references[0]
    alone = replace(
        batch,
        given=torch.cat([over, over]),
        lights=torch.ones(2),
        references=Cameras.orbit(front.expand(2), *(v.expand(2) for v in (r.elevation, r.distance, r.fov)), 16),
        cameras=Cameras.orbit(c.azimuth + turn, c.elevation, c.distance, c.fov, 16),
    )
    with torch.no_grad():
        canvas = trained.painted(trained.average, alone, x, t, ["a red cube"] * 2)
        told = trained.prior.condition("a red cube", alone.cameras)
        expected = trained.prior.denoise(x, t, told, canvas).clean
        plain = trained.prior.denoise(x, t, told).clean
    assert torch.allclose(seen, expected, atol=2e-2)  # the folder's weights are in half precision
    assert not torch.allclose(plain, expected, atol=2e-2)
    low = torch.tensor([300, 700])  # where the noisy view says more, the prior is left alone
    unchanged = trained.prior.denoise(x, low, told).clean
    assert torch.allclose(made.denoise(x, low, condition).clean, unchanged, atol=2e-2)
    deaf = PixelNovelView(PixelNovelView.Config(model=str(tmp_path / "model"), heard_from=1))
    assert torch.allclose(deaf.denoise(x, t, condition).clean, plain, atol=2e-2)
    blind = made.denoise(x, t, condition.unconditional).clean
    silent = trained.prior.denoise(x, t, trained.prior.condition("")).clean
    assert torch.allclose(blind, silent, atol=2e-2)
    assert not torch.allclose(blind, seen, atol=2e-2)


def test_what_cannot_be_trained_is_said_first(tmp_path, small_prior):
    with pytest.raises(UserError, match="--pictures is at least a batch of 32"):
        main(["--pictures", "8", "--out", str(tmp_path / "a")])
    with pytest.raises(UserError, match="--lr must be positive"):
        main(["--lr", "0", "--out", str(tmp_path / "a")])
    with pytest.raises(UserError, match="no training to resume"):
        main(["--resume", "--out", str(tmp_path / "a"), "--model", small_prior])
    assert not (tmp_path / "a").exists()


def test_a_folder_that_is_none_is_named(tmp_path, small_prior):
    made = PixelNovelView.Config
    with pytest.raises(UserError, match="no such folder"):
        PixelNovelView(made(model="sd15"))
    with pytest.raises(UserError, match=r"config\.json is missing"):
        PixelNovelView(made(model=small_prior))
    steps(started(tmp_path, small_prior), 1).save()
    with pytest.raises(UserError, match="needs a picture"):
        PixelNovelView(made(model=str(tmp_path / "model"))).condition("a red cube", Cameras.orbit(0.0))
    (tmp_path / "model" / "config.json").write_text(json.dumps({"prior": "toybox"}))
    with pytest.raises(UserError, match="belongs to another prior"):
        PixelNovelView(made(model=str(tmp_path / "model")))
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(UserError, match="does not say for which prior"):
        PixelNovelView(made(model=str(tmp_path / "model")))
