"""The judge reads real toybox pictures, and whoever does not draw them scores at chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from distill3d import toybox
from distill3d.core.errors import UserError
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.toybox.categories import CATEGORIES
from distill3d.toybox.heldout import held_out
from distill3d.toybox.judge import Judge
from distill3d.toybox.model import Denoiser, Shape, make_tokenizer, save_folder
from distill3d.toybox.palette import COLORS
from distill3d.toybox.train_judge import draw, draw_plain, loss, roughened, save

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def judge():
    return Judge.load()


@pytest.fixture(scope="module")
def quality():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import prior_quality

        yield prior_quality


def test_fresh_toys_are_told_and_scrambled_ones_are_not(judge):
    fresh = draw_plain(256, seed=123)
    pictures = torch.from_numpy(fresh.pictures).float() / 255
    told = judge.judge(pictures)
    category, color = told.category.argmax(1).numpy() == fresh.category, told.color.argmax(1).numpy() == fresh.color
    assert category.mean() > 0.9
    assert color.mean() > 0.93
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(64 * 64, generator=generator)
    scrambled = judge.judge(pictures.reshape(256, -1, 4)[:, order].reshape(pictures.shape))
    assert (scrambled.category.argmax(1).numpy() == fresh.category).mean() < 0.15


def test_real_pictures_score_high_and_those_of_other_prompts_at_chance(judge, quality):
    asked = quality.prompts()[:12] + quality.prompts()[40:48]
    real = quality.real(asked, 2)
    assert quality.score(judge, real, asked, 2).right.mean() > 0.8
    other = quality.score(judge, real.roll(2, 0), asked, 2)
    assert other.right.mean() < 0.05
    assert np.isnan(other.azimuth_error).sum() == 2 * sum(not CATEGORIES[p.category].asymmetric for p in asked)


def test_an_untrained_prior_scores_at_chance(judge, quality, tmp_path):
    shape = Shape(channels=(16, 16, 32), layers=(1, 1, 1), heads=(1, 1, 2), text_width=16, text_layers=1)
    tokenizer = make_tokenizer(shape.tokens)
    torch.manual_seed(0)
    save_folder(tmp_path, shape, Denoiser(shape, len(tokenizer)), tokenizer)
    prior = DiffusionPrior.build({"kind": "diffusion", "model": str(tmp_path)})
    asked = quality.prompts()[::6]
    pictures = quality.sampled(prior, asked, views=2, steps=2, cfg_scale=1.0)
    assert quality.score(judge, pictures, asked, 2).right.mean() < 0.1
    gate = quality.camera_gate(prior, count=2)["all"]
    assert gate["azimuth + 180"] == pytest.approx(gate["right"], rel=0.02)  # it does not know front from back
    quality.write_grid(tmp_path / "grid.png", pictures, asked, 2)
    assert (tmp_path / "grid.png").stat().st_size > 1000


def test_the_prompts_are_fixed_and_a_third_is_held_out(quality):
    asked = quality.prompts()
    assert asked == quality.prompts() != quality.prompts(seed=1)
    assert [p.seen for p in asked] == [True] * 40 + [False] * 20
    assert all(((p.color, p.category) in held_out()) != p.seen for p in asked)
    assert len({p.text for p in asked}) == 60


def test_views_are_spread_around(quality):
    for views in (1, 6):
        turns = np.concatenate([quality.azimuths(views, i).numpy() for i in range(60)]) % (2 * np.pi)
        counts = np.histogram(turns, 6, (0, 2 * np.pi))[0]
        assert counts.min() > 0.7 * counts.mean()


def test_pictures_are_drawn_the_same_again_with_their_labels():
    one, two, other = draw(16, start=3), draw(16, start=3), draw(16, seed=1, start=3)
    np.testing.assert_array_equal(one.pictures, two.pictures)
    assert not np.array_equal(one.pictures, other.pictures)
    assert set(one.category) == {3}
    assert set(one.color) <= set(range(len(COLORS)))


def test_roughened_pictures_still_show_the_toy():
    pictures = torch.from_numpy(draw(16, start=0).pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    rough = roughened(pictures.clone(), torch.Generator().manual_seed(0))
    again = roughened(pictures.clone(), torch.Generator().manual_seed(0))
    assert torch.equal(rough, again)
    assert not torch.equal(rough, pictures)
    assert float((rough - pictures).abs().mean()) < 0.25


def test_a_judge_learns_what_it_is_shown_and_is_saved_whole(tmp_path):
    shown = draw(64, start=0)
    pictures = torch.from_numpy(shown.pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    labels = [torch.from_numpy(v) for v in (shown.category, shown.color)]
    torch.manual_seed(0)
    small = Judge((8, 8, 16, 16))
    optimizer = torch.optim.Adam(small.parameters(), 1e-2)
    found = []
    for _ in range(12):
        error = loss(small, pictures, *labels)
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        found.append(error.item())
    assert found[-1] < 0.6 * found[0]
    save(small, tmp_path, {})
    again, straight = Judge.load(tmp_path), small.eval()
    seen = torch.from_numpy(shown.pictures).float() / 255
    assert torch.allclose(again.judge(seen).category, straight.judge(seen).category, atol=2e-2)


def test_bad_input_is_said_in_one_line(judge, tmp_path):
    with pytest.raises(UserError, match="RGBA"):
        judge.judge(torch.zeros(1, 64, 64, 3))
    with pytest.raises(UserError, match=r"config\.json"):
        Judge.load(tmp_path)


def test_the_weights_are_small():
    folder = Path(toybox.__file__).parent / "judge_weights"
    assert sum(file.stat().st_size for file in folder.iterdir()) < 3 * 2**20
