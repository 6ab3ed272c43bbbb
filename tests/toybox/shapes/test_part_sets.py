"""Pairs of shapes that differ in one attribute, and what SALAD's denoisers are asked about them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from distill3d.parts.gaussians import SIZE
from distill3d.parts.generation import SPARE
from distill3d.parts.naming import PartNamer
from distill3d.parts.network import PartNetwork, PartSizes
from distill3d.toybox.shapes.attributes import sample_pair, sample_shape
from distill3d.toybox.shapes.part_examples import COMPLETIONS, EDITS, PartExamples, stacked
from distill3d.toybox.shapes.part_sets import PartSets, read_sets
from distill3d.toybox.shapes.part_words import ABOUT, NAMES, word_of

PARTS = 6


def pair(seed):
    return sample_pair((3, seed, 5), np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(12))
def test_a_pair_differs_in_one_attribute_and_in_its_parts_alone(seed):
    first, second, attribute = pair(seed)
    alone = sample_shape(np.random.default_rng((3, seed, 5)))
    assert [p.center for p in first.parts] == [p.center for p in alone.parts]
    different = [name for name in first.attributes if first.attributes[name] != second.attributes[name]]
    assert different == [attribute]
    words = ABOUT[first.kind][attribute]
    rest = [[(p.name, p.center, p.size) for p in s.parts if word_of(p.name) not in words] for s in (first, second)]
    assert rest[0] == rest[1]
    changed = [[(p.name, p.center, p.size) for p in s.parts if word_of(p.name) in words] for s in (first, second)]
    assert changed[0] != changed[1]


def test_every_part_of_every_shape_has_a_word():
    shapes = [sample_shape(np.random.default_rng(seed)) for seed in range(80)]
    assert {word_of(part.name) for shape in shapes for part in shape.parts} == set(NAMES)
    assert all(word in NAMES for kind in ABOUT.values() for words in kind.values() for word in words)


@pytest.fixture(scope="module")
def sets():
    torch.manual_seed(0)
    sizes = PartSizes(parts=PARTS, latent=16, intrinsics=4, width=16, depth=1, heads=2, pair=16, nearest=3)
    return read_sets(PartNetwork(sizes), PartNamer(NAMES, 4), 3, 6)


def test_sets_come_back_from_their_file(sets, tmp_path):
    sets.save(tmp_path / "a" / "sets.safetensors")
    back = PartSets.load(tmp_path / "a" / "sets.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(vars(sets).values(), vars(back).values(), strict=True))
    assert len(back) == 6


@pytest.fixture
def made_up():
    """Two shapes of six parts that tell where they come from: shape + part / 10, and a hundred more for the like."""
    number = (torch.arange(2)[:, None] + torch.arange(PARTS) / 10)[..., None]
    extrinsics, intrinsics = number.expand(2, PARTS, SIZE).clone(), number.expand(2, PARTS, 4).clone()
    about = torch.tensor([[True, True, False, False, False, False], [False] * PARTS])
    twin = torch.tensor([[False, False, True, True, True, False], [False] * PARTS])
    sets = PartSets(extrinsics, intrinsics, about, extrinsics + 100, intrinsics + 100, twin)
    raw = torch.zeros(2, PARTS, SIZE)
    raw[:, 5, 12] = -20.0  # the last part of every like holds nothing
    return sets, raw


def test_an_edit_is_the_kept_parts_the_new_ones_and_empty_ones(made_up):
    sets, raw = made_up
    example = PartExamples(sets, raw, raw)._edit(np.random.default_rng(0), 0)
    first, holds = example.extrinsics[:, 0], example.intrinsics[:, 0]
    assert example.twin
    assert example.known.tolist() == [True] * 4 + [False] * (2 + SPARE)
    assert first[:4].tolist() == pytest.approx([0.2, 0.3, 0.4, 0.5])  # all but the two
    assert first[4:7].tolist() == pytest.approx([100.2, 100.3, 100.4])
    assert first[7:].tolist() == pytest.approx([100.5] * (SPARE - 1))  # filled up by what is empty
    assert torch.equal(first, holds)


def test_empty_parts_come_from_other_shapes_or_not_at_all(made_up):
    sets, raw = made_up
    twin = raw.clone()
    twin[0, 5, 12] = 0.0
    from_other = PartExamples(sets, raw, twin)._edit(np.random.default_rng(0), 0)
    assert from_other.extrinsics[7:, 0].tolist() == pytest.approx([101.5] * (SPARE - 1))
    none = PartExamples(sets, raw, torch.zeros_like(raw))._edit(np.random.default_rng(0), 0)
    assert len(none.known) == 7


def test_kinds_of_examples_come_in_their_shares(made_up):
    examples = PartExamples(*made_up, made_up[1])
    rng = np.random.default_rng(0)
    drawn = [examples.draw(rng, 0) for _ in range(600)]
    edits = sum(e.twin for e in drawn) / 600
    completions = sum(bool(e.known.any()) and not e.twin for e in drawn) / 600
    assert edits == pytest.approx(EDITS, abs=0.06)
    assert completions == pytest.approx(COMPLETIONS, abs=0.06)
    assert not any(bool(e.known.all()) for e in drawn)  # there is always something to make
    assert not any(examples.draw(rng, 1).twin for _ in range(50))  # control: nothing that could be edited


def test_parts_near_to_each_other_are_taken_out_together(made_up):
    sets, raw = made_up
    raw = raw.clone()
    raw[0, :, 0] = torch.arange(PARTS)  # in a row
    examples, rng, gaps = PartExamples(replace(sets, about=~sets.about), raw, raw), np.random.default_rng(1), Counter()
    for _ in range(100):
        unknown = (~examples._completion(rng, 0).known).nonzero()[:, 0]
        gaps[int(unknown.diff().max()) if len(unknown) > 1 else 1] += 1
    assert gaps == {1: 100}


def test_sets_of_different_sizes_stand_side_by_side(made_up):
    examples = PartExamples(*made_up, made_up[1])
    long, short = examples._edit(np.random.default_rng(0), 0), examples._completion(np.random.default_rng(0), 1)
    extrinsics, intrinsics, known, there = stacked([long, short])
    assert extrinsics.shape == (2, 8, SIZE)
    assert intrinsics.shape == (2, 8, 4)
    assert there.tolist() == [[True] * 8, [True] * 6 + [False] * 2]
    assert torch.equal(extrinsics[1, :6], short.extrinsics)
    assert torch.equal(known[0], long.known)
