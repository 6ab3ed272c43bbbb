"""benchmarks/editing/pairs.py: its pairs can be judged, and its figures say what the rows say."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill3d.geometry.region import Region
from distill3d.toybox.verdict import Verdict, asked

EDITING = Path(__file__).resolve().parents[2] / "benchmarks" / "editing"


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(EDITING.parent))
    monkeypatch.syspath_prepend(str(EDITING))
    import pairs

    return pairs


def test_the_toybox_has_words_for_every_pair(pairs):
    for pair in pairs.PAIRS:
        before, after = asked(pair.before), asked(pair.after)
        assert (before.color, before.category) != (after.color, after.category)  # what the judge tells apart
        assert pair.region is None or Region.parse(pair.region)
    assert {pair.kind for pair in pairs.PAIRS} == {"colour", "colour of a part", "shape"}


def test_figures_count_what_was_told_right_and_take_the_worst(pairs):
    def row(method: str, hue: str, beside: float | None, seconds: float):
        told = Verdict("cube", "blue", "cube", hue, 0.9, 0.01, 0.0, None, ())
        return pairs.Row(pairs.PAIRS[0], method, told, 30.0, beside, seconds)

    rows = [row("pds", "blue", 50.0, 90), row("pds", "red", 20.0, 130), row("sds", "blue", None, 80)]
    found = {figure.name: figure for figure in pairs.figures(rows)}
    assert (found["edit_pds_right"].value, found["edit_pds_right"].out_of) == (1, 2)
    assert found["edit_sds_right"].value == 1
    assert (found["edit_psnr_beside_region"].value, found["edit_psnr_beside_region"].verdict) == (20.0, "short")
    assert (found["edit_seconds"].value, found["edit_seconds"].verdict) == (130, "short")


def test_an_instruction_says_the_change_alone(pairs):
    from distill3d.toybox.edit_pairs import make_pairs

    asked_for = {pairs.instruction(pair) for pair in pairs.PAIRS}
    assert {"make it blue", "make it yellow", "turn it into a cube", "turn it into a pyramid"} == asked_for
    known = {w for batch in range(3) for e in make_pairs(0, batch, 64, 16).edits for w in e.wordings}
    assert "make it blue" in known  # the model was trained on this wording
    assert "make it bluish" not in known
