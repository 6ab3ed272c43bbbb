"""benchmarks/editing: its pairs can be judged, and its figures and table say what the rows say."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from distill3d.geometry.region import Region
from distill3d.toybox.captions import VOCABULARY
from distill3d.toybox.categories import CATEGORIES
from distill3d.toybox.instructions import words
from distill3d.toybox.verdict import Verdict, asked

EDITING = Path(__file__).resolve().parents[2] / "benchmarks" / "editing"


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(EDITING.parent))
    monkeypatch.syspath_prepend(str(EDITING))
    import pairs

    return pairs


def test_there_are_six_pairs_of_every_kind_and_the_judge_tells_both_sides_apart(pairs):
    assert Counter(pair.kind for pair in pairs.PAIRS) == dict.fromkeys(pairs.KINDS, 6)
    for pair in pairs.PAIRS:
        before, after = asked(pair.before), asked(pair.after)
        sides = [(i.category, i.color, i.material if pair.kind == "material" else "") for i in (before, after)]
        assert sides[0] != sides[1]
        assert (before.material != after.material) == (pair.kind == "material")
        assert after.material in ("plain", *CATEGORIES[after.category].materials)
        assert pair.region is None or Region.parse(pair.region)


def row(pairs, method: str, hue: str, material: str, pair: int = 0, **found: float):
    after = asked(pairs.PAIRS[pair].after)
    verdict = Verdict(
        after.category, after.color, after.material, after.category, hue, material, 0.9, 0.01, 0.0, None, ()
    )  # fmt: skip
    return pairs.Row(pairs.PAIRS[pair], "nerf", method, verdict, found, found.pop("seconds", None))


def test_figures_count_what_was_told_right_and_take_the_worst(pairs):
    beside = "psnr_to_source_beside_region"
    rows = [
        row(pairs, "pds", "blue", "plain", seconds=90, **{beside: 50.0}),
        row(pairs, "pds", "red", "plain", seconds=130, **{beside: 20.0}),
        row(pairs, "sds", "blue", "plain", seconds=80),
    ]
    found = {figure.name: figure for figure in pairs.figures(rows)}
    assert (found["edit_nerf_pds_right"].value, found["edit_nerf_pds_right"].out_of) == (1, 2)
    assert found["edit_nerf_sds_right"].value == 1
    assert (found["edit_psnr_beside_region"].value, found["edit_psnr_beside_region"].verdict) == (20.0, "short")
    assert (found["edit_seconds"].value, found["edit_seconds"].verdict) == (130, "short")
    pds, sds = pairs.table(rows).splitlines()[2:]
    assert pds.split()[:5] == ["nerf", "pds", "1", "of", "2"]
    assert sds.split()[:5] == ["nerf", "sds", "1", "of", "1"]


def test_the_material_counts_where_it_was_asked_for_and_only_there(pairs):
    striped = next(i for i, pair in enumerate(pairs.PAIRS) if pair.after == "a striped red cube")
    assert row(pairs, "pds", "red", "striped", striped).right
    assert not row(pairs, "pds", "red", "plain", striped).right  # an edit that changed nothing
    assert row(pairs, "pds", "blue", "wooden").right  # a cube that was to be blue, a little uneven


def test_an_instruction_says_the_change_alone_in_words_the_model_was_trained_on(pairs):
    said = {pair.instruction for pair in pairs.PAIRS}
    assert {"make it blue", "make it striped", "make it wooden", "turn it into a cube"} <= said
    known = {*VOCABULARY, *words()}
    assert {word for asked_for in said for word in asked_for.split()} <= known
    assert "bluish" not in known
