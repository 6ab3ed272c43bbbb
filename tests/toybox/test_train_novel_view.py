"""Training the novel-view model, tiny: it begins as the prior, learns with its eye first, resumes to the same
bytes, and what it saves is a prior that turns pictures."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.diffusion.pixel_novel_view import PixelNovelView
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.relative_view import turned_view
from distill3d.diffusion.view import view_vector
from distill3d.toybox.novel_view_model import Told
from distill3d.toybox.train_novel_view import (
    NovelViewSettings,
    NovelViewTrainer,
    main,
    novel_view_rate,
    train_novel_view,
)
from distill3d.toybox.view_pairs import make_view_pairs
from tests.toybox.test_train import advance, trainer

SETTINGS = NovelViewSettings(pictures=640, batch=8, eye=0, lr=3e-3, warmup=4)


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


def test_told_by_an_eye_that_says_what_the_prior_heard_it_begins_as_the_prior(tmp_path, prior):
    taught = started(tmp_path, prior)
    plain = DiffusionPrior(DiffusionPrior.Config(model=prior))
    x, t = torch.randn(plain.x_shape(2), generator=torch.Generator().manual_seed(0)), torch.tensor([500, 800])
    captions, cameras = ["a red cube", "a cone"], Cameras.orbit(torch.tensor([0.3, 2.0]), 0.4)
    heard = plain.condition(captions, cameras)
    expected = plain.denoise(x, t, heard).clean
    picture = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    reference = Cameras.orbit(torch.tensor([1.1, -0.4]), 0.2)
    front = view_vector(reference)[:, 1:9]
    said = Told(taught.hearing(captions), turned_view(front, cameras, reference), picture)
    with torch.no_grad():
        ours, _ = taught.denoiser(x, t, said)
        turned, _ = taught.denoiser(x, t, replace(said, view=turned_view(front, cameras, cameras)))
        forgot, _ = taught.denoiser(x, t, taught.denoiser.forgetful(said, torch.zeros(2, 1)))
    assert torch.allclose(ours, expected, atol=1e-4)
    assert not torch.allclose(turned, expected, atol=1e-4)
    nothing = plain.denoise(x, t, plain.condition(["", ""])).clean
    assert torch.allclose(forgot, nothing, atol=1e-4)
    assert not torch.allclose(expected, nothing, atol=1e-4)


def test_first_the_eye_learns_and_then_all(tmp_path, prior):
    taught = started(tmp_path, prior, eye=320)  # forty steps
    before, blank = taught.gate(16), {k: v.clone() for k, v in taught.denoiser.state_dict().items()}
    after = steps(taught, 40).gate(16)
    changed = {k.split(".")[0] for k, v in taught.denoiser.state_dict().items() if not torch.equal(v, blank[k])}
    assert changed == {"eye"}
    assert after["lesson"] < 0.7 * before["lesson"]
    assert after["given"] == before["given"]
    steps(taught, 1)
    changed = {k.split(".")[0] for k, v in taught.denoiser.state_dict().items() if not torch.equal(v, blank[k])}
    assert changed == {"eye", "unet", "canvas"}


def test_the_rate_warms_up_for_the_eye_and_again_for_all():
    settings = replace(SETTINGS, pictures=1600, eye=800, batch=8, warmup=10)
    rates = [novel_view_rate(settings, step) / settings.lr for step in range(200)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[20] == 1
    assert rates[99] == pytest.approx(0.02, abs=0.03)
    assert rates[100] == pytest.approx(0.1)
    assert rates[199] == pytest.approx(0.02, abs=0.03)


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
    told = {"right", "azimuth + 90", "azimuth + 180", "other picture", "nothing", "given", "lesson"}
    assert set(rows[-1]["view_gate"]) == told
    made = PixelNovelView(PixelNovelView.Config(model=str(tmp_path / "model")))
    assert (made.channels, made.resolution, made.background) == (4, 16, 0.5)
    batch = make_view_pairs(9, 0, 2, 16)
    picture = batch.given[0].clone()
    picture[..., :3] -= 0.5 * (1 - picture[..., 3:])  # premultiplied, as runs have it
    reference = made.remember(picture, batch.references[0])
    condition = made.seen_from(reference, batch.cameras)
    x, t = torch.randn(made.x_shape(2), generator=torch.Generator().manual_seed(0)), torch.tensor([600, 800])
    seen = made.denoise(x, t, condition).clean
    trained = load_trained(tmp_path, prior)
    twice = [torch.cat([v[:1], v[:1]]) for v in (batch.given, batch.asked)]
    both = Cameras.orbit(*(c.expand(2) for c in sight(batch.references[0])), 16)
    alone = replace(batch, given=twice[0], asked=twice[1], lights=torch.ones(2), references=both)
    with torch.no_grad():
        expected, _ = trained.average(x, t, trained.told(trained.average, alone)[0])
    assert torch.allclose(seen, expected, atol=2e-2)  # the folder's weights are in half precision
    blind = made.denoise(x, t, condition.unconditional).clean
    assert not torch.allclose(seen, blind, atol=2e-2)


def load_trained(folder, prior):
    trained = started(folder, prior)
    trained.load()
    return trained


def sight(camera):
    return camera.azimuth, camera.elevation, camera.distance, camera.fov


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
    with pytest.raises(UserError, match=r"picture_tokens.config\.json"):
        PixelNovelView(PixelNovelView.Config(model=prior))
    steps(started(tmp_path, prior), 1).save()
    made = PixelNovelView(PixelNovelView.Config(model=str(tmp_path / "model")))
    with pytest.raises(UserError, match="hears no prompt"):
        made.condition("a red cube", Cameras.orbit(0.0))
