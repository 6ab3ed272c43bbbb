"""The stream of training pictures: repeatable, and without the pairs that are held out."""

from __future__ import annotations

import numpy as np
import torch

from distill3d.diffusion.patches import PatchCodec
from distill3d.toybox import dataset
from distill3d.toybox.captions import parse
from distill3d.toybox.categories import CATEGORIES
from distill3d.toybox.dataset import FREQUENT, Batch, encode, make_batch, random_cameras, random_toy, stream
from distill3d.toybox.heldout import held_out


def pairs(captions: list[str]) -> set[tuple[str, str]]:
    found = set()
    for caption in captions:
        described = parse(caption)
        assert described is not None, caption
        for item in (described.item, described.other):
            if item is not None:
                assert item.color is not None, caption
                found.add((item.color, item.category))
    return found


def same(a: Batch, b: Batch) -> bool:
    return torch.equal(a.pictures, b.pictures) and torch.equal(a.views, b.views) and a.captions == b.captions


def test_same_seed_and_index_same_batch():
    first = make_batch(5, 7, 6, 16)
    assert same(first, make_batch(5, 7, 6, 16))
    assert not same(first, make_batch(6, 7, 6, 16))
    assert not same(first, make_batch(5, 8, 6, 16))


def test_the_stream_is_the_same_whoever_draws_it_and_wherever_it_starts():
    alone = list(stream(3, 0, 4, 2, 16, workers=0))
    helped = list(stream(3, 2, 4, 2, 16, workers=1))
    assert len(alone) == 4
    assert len(helped) == 2
    assert all(same(a, b) for a, b in zip(alone[2:], helped, strict=True))


def test_training_never_meets_a_held_out_pair():
    rng = np.random.default_rng(0)
    toys = [random_toy(rng, "train", None) for _ in range(1500)]
    met = {(t.color, t.category) for t in toys} | {(c, n) for t in toys for n, c in t.others}
    assert not met & held_out()
    assert len(met) > 0.6 * (12 * len(CATEGORIES) - len(held_out()))
    every = [random_toy(rng, "all", None) for _ in range(500)]  # negative control: they are there to be met
    assert {(t.color, t.category) for t in every} & held_out()


def test_the_captions_of_a_batch_name_no_held_out_pair():
    assert not pairs(make_batch(0, 0, 64, 8).captions) & held_out()
    novel = make_batch(0, 0, 64, 8, split="heldout", category="chair")
    assert pairs(novel.captions) <= held_out()


def test_pictures_are_colour_over_grey_and_coverage():
    batch = make_batch(1, 0, 8, 32, category="cube")
    assert batch.pictures.shape == (8, 32, 32, 4)
    assert batch.views.shape == (8, 16)
    assert float(batch.pictures.min()) >= 0
    assert float(batch.pictures.max()) <= 1
    empty = batch.pictures[batch.pictures[..., 3] == 0]
    assert len(empty)
    assert torch.equal(empty[:, :3], torch.full((len(empty), 3), 0.5))
    codec = PatchCodec(4, 4, 0.5)
    torch.testing.assert_close(codec.decode(encode(batch, codec, "cpu")), batch.pictures)


def test_cameras_are_spread_over_the_sphere_and_the_toy_fills_the_picture():
    cameras = random_cameras(np.random.default_rng(0), 4000, 64)
    turned = torch.stack([cameras.azimuth.cos().mean(), cameras.azimuth.sin().mean()])
    assert float(turned.norm()) < 0.05
    height = cameras.elevation.sin()
    assert float(height.min()) > -0.51
    assert abs(float(height.mean()) - 0.25) < 0.02  # even in the sine: by area
    reach = cameras.distance * (0.5 * cameras.fov).tan()
    assert 1.04 <= float(reach.min()) <= float(reach.max()) <= 1.31


def test_frequent_categories_come_more_often():
    assert set(CATEGORIES) >= FREQUENT
    rng = np.random.default_rng(1)
    drawn = [random_toy(rng, "train", None).category for _ in range(1500)]
    often = np.mean([name in FREQUENT for name in drawn])
    plain = len(FREQUENT) / len(CATEGORIES)
    assert often > plain + 0.12
    assert dataset.RELATION_RATE > 0
