"""Teaching views to see each other, for a few steps: only the attention moves, and a training resumes exactly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import distill3d
from distill3d.diffusion.multi_view import MultiViewPrior
from distill3d.toybox.train_multi_view import MultiViewSettings, MultiViewTrainer, view_losses
from distill3d.toybox.view_groups import make_groups

PRIOR = Path(distill3d.__file__).parent / "toybox" / "weights"
SETTINGS = MultiViewSettings(groups=8, batch=1, warmup=2)


def advanced(trainer, steps):
    for _ in range(steps):
        trainer.advance()
    return trainer


def test_a_group_is_one_toy_from_equal_angles_and_the_next_is_another():
    batch = make_groups(3, 0, 2, 4, 32)
    assert batch.pictures.shape == (8, 32, 32, 4)
    assert len(set(batch.captions[:4])) == 1
    assert batch.captions[0] != batch.captions[4]
    turns = torch.remainder(batch.cameras.azimuth[:4].diff(), 2 * torch.pi)
    torch.testing.assert_close(turns, torch.full((3,), torch.pi / 2), atol=1e-5, rtol=0)
    assert torch.equal(batch.pictures, make_groups(3, 0, 2, 4, 32).pictures)
    assert not torch.equal(batch.pictures, make_groups(3, 1, 2, 4, 32).pictures)


def test_only_attention_learns_and_stopping_changes_nothing(tmp_path):
    whole = MultiViewTrainer(PRIOR, SETTINGS)
    before = {k: v.clone() for k, v in whole.denoiser.state_dict().items()}
    advanced(whole, 4).save(tmp_path / "whole")
    moved = {k for k, v in whole.denoiser.state_dict().items() if not torch.equal(v, before[k])}
    assert moved
    assert all(".attn1." in name for name in moved)
    advanced(MultiViewTrainer(PRIOR, SETTINGS), 2).save(tmp_path / "halves")
    resumed = MultiViewTrainer(PRIOR, SETTINGS)
    resumed.load(tmp_path / "halves")
    assert resumed.step == 2
    advanced(resumed, 2).save(tmp_path / "halves")
    a, b = (load_file(tmp_path / name / "training.safetensors") for name in ("whole", "halves"))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)
    opened = MultiViewPrior.build(
        {"kind": "multi_view", "attention": str(tmp_path / "whole" / "attention.safetensors")}
    )
    assert opened.together == 4


@pytest.mark.parametrize("share", ["0.5", "0.8", "0.95"])
def test_the_shipped_attention_makes_use_of_the_other_views(share, report):
    """The views of the same toy say more than those of strangers, and than none."""
    row = report[share]
    assert row["together"] < 0.995 * row["strangers"]
    assert row["together"] < row["alone"]


@pytest.fixture(scope="module")
def report():
    trainer = MultiViewTrainer(PRIOR, SETTINGS)
    shipped = load_file(PRIOR.parent / "multi_view" / "attention.safetensors")
    for name, weight in zip(trainer.average.names, trainer.average.weights, strict=True):
        weight.data.copy_(shipped[name])
    return view_losses(trainer, groups=16, prior=PRIOR)
