"""Training the text-image encoder: its loss, its pictures, and that going on is the same as never stopping."""

import json

import pytest
import torch
import torch.nn.functional as F

from distill3d.cli import main as command
from distill3d.core.errors import UserError
from distill3d.diffusion.conv_clip import ConvClipShape
from distill3d.toybox.dataset import make_batch
from distill3d.toybox.train_clip import (
    WORDS,
    ClipSettings,
    ClipTrainer,
    contrastive_loss,
    learning_rate,
    same_content,
    staged,
    train,
)

SHAPE = ConvClipShape(size=32, widths=(8, 8, 16, 16), text_width=32, text_layers=1, vocabulary=len(WORDS))


def unit(count, seed):
    return F.normalize(torch.randn(count, 8, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_the_loss_is_the_published_one_where_no_two_captions_are_alike():
    pictures, texts, log_scale = unit(6, 0), unit(6, 1), torch.tensor(2.0)
    logits = log_scale.exp() * pictures @ texts.T
    labels = torch.arange(6)
    published = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    assert torch.allclose(contrastive_loss(pictures, texts, log_scale, torch.eye(6).bool()), published)


def test_captions_of_one_content_share_its_pull():
    same = same_content(["a red mug", "a toy mug in red", "a red cup", "a blue mug", "a brown chair", "a wooden chair"])
    expected = torch.zeros(6, 6).bool()
    expected[:3, :3] = True
    expected |= torch.eye(6).bool()
    assert torch.equal(same, expected)
    # Two pictures of the same thing, each exactly on both captions: there is nothing to tell them apart by, and the
    # loss is as low as it gets, where the plain one would push them apart.
    texts = torch.eye(8)[[0, 0, 1]]
    scale = torch.tensor(5.0).log().requires_grad_()
    apart = texts.clone()
    apart[0] = F.normalize(texts[0] + 0.3 * torch.eye(8)[2], dim=0)
    together = same_content(["a red mug", "a red cup", "a blue mug"])
    assert contrastive_loss(texts, texts, scale, together) < contrastive_loss(apart, texts, scale, together)


def test_staged_pictures_keep_the_toy_and_change_what_is_behind():
    batch = make_batch(1, 0, 8, 32)
    one, two = (staged(batch, torch.Generator().manual_seed(seed), 0.0) for seed in (0, 1))
    assert one.shape == (8, 3, 32, 32)
    assert one.min() >= -1
    assert one.max() <= 1
    assert torch.equal(one, staged(batch, torch.Generator().manual_seed(0), 0.0))
    corner = (slice(None), slice(None), slice(0, 3), slice(0, 3))
    assert (one[corner] - two[corner]).abs().mean() > 0.2
    middle = batch.pictures[:, 12:20, 12:20, :3].mean((1, 2))
    likeness = [F.cosine_similarity(((p[:, :, 12:20, 12:20].mean((2, 3)) + 1) / 2), middle).mean() for p in (one, two)]
    assert min(likeness) > 0.9


def test_the_learning_rate_rises_and_falls_to_nothing():
    settings = ClipSettings(pictures=12_800, batch=64, warmup=10)
    rates = [learning_rate(settings, step) for step in range(201)]
    assert max(rates) == pytest.approx(settings.lr, rel=0.02)
    assert rates[0] < 0.11 * settings.lr
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_a_short_training_learns_and_going_on_is_the_same_as_never_stopping(tmp_path):
    settings = ClipSettings(pictures=640, batch=16, lr=3e-3, warmup=5)
    whole = train(tmp_path / "whole", SHAPE, settings, "cpu", False, 60.0, judged=64)
    losses = [json.loads(line).get("loss") for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert losses[0] is not None

    half = ClipTrainer(tmp_path / "half", SHAPE, settings, "cpu")
    batches = [make_batch(8_000_000, i, 16, 32) for i in range(20)]
    values = [half.advance(batch) for batch in batches]
    assert sum(values[-5:]) < 0.97 * sum(values[:5])
    half.save()
    resumed = train(tmp_path / "half", SHAPE, settings, "cpu", True, 60.0, judged=64)
    assert resumed.step == whole.step == 40
    for name, value in whole.average.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(value, resumed.average.state_dict()[name]), name


def test_a_training_of_another_kind_is_not_gone_on_with(tmp_path):
    settings = ClipSettings(pictures=640, batch=16)
    ClipTrainer(tmp_path, SHAPE, settings, "cpu").save()
    with pytest.raises(UserError, match="another lr"):
        ClipTrainer(tmp_path, SHAPE, ClipSettings(pictures=640, batch=16, lr=1.0), "cpu").load()
    with pytest.raises(UserError, match="no training to resume"):
        ClipTrainer(tmp_path / "elsewhere", SHAPE, settings, "cpu").load()


def test_too_few_pictures_are_refused_in_one_line(tmp_path, capsys):
    out = tmp_path / "out"
    assert command(["toybox", "train-clip", "--pictures", "3", "--out", str(out)]) == 2
    assert "error: --pictures 3" in capsys.readouterr().err
    assert not out.exists()
