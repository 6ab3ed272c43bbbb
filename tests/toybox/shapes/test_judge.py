"""The geometric judge against shapes whose attributes are known."""

import numpy as np
import pytest

from distill3d.core.errors import UserError
from distill3d.toybox.shapes import KINDS, sample_shape
from distill3d.toybox.shapes.judge import judge
from distill3d.toybox.shapes.solid_grid import filled_cells

EVERY = [(kind, name) for kind, known in KINDS.items() for name in known.attributes]


@pytest.fixture(scope="module")
def judged():
    """120 shapes of each kind: what is true of them and what the judge says."""
    rng = np.random.default_rng(77)
    shapes = [sample_shape(rng, kind) for kind in KINDS for _ in range(120)]
    return [(s.kind, s.attributes, judge(filled_cells(s.parts, 64) >= 0, s.kind)) for s in shapes]


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_the_judge_is_right_in_nearly_all(judged, kind, name):
    right = [found[name] == true[name] for k, true, found in judged if k == kind]
    assert np.mean(right) >= 0.95


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_it_reads_the_shape_and_not_the_odds(judged, kind, name):
    """Control: what it says of one shape is right for the next one about as often as chance has it."""
    rows = [(true, found) for k, true, found in judged if k == kind]
    shifted = [found[name] == rows[(i + 1) % len(rows)][0][name] for i, (_, found) in enumerate(rows)]
    assert np.mean(shifted) < 0.75


def test_nothing_to_judge_is_said():
    with pytest.raises(UserError, match="empty"):
        judge(np.zeros((64, 64, 64), bool), "chair")
    with pytest.raises(UserError, match="kind 'sofa'"):
        judge(np.ones((64, 64, 64), bool), "sofa")
