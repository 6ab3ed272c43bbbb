import numpy as np
import pytest

from distill3d.core.errors import UserError
from distill3d.geometry.tetrahedral_grid import EDGES, tetrahedral_grid

GRID = tetrahedral_grid(10)


def corners():
    return GRID.vertices[GRID.tetrahedra].astype(float)


def test_tetrahedra_are_congruent_and_turned_one_way():
    volume = np.linalg.det(corners()[:, 1:] - corners()[:, :1]) / 6
    assert volume.min() > 0
    assert np.ptp(volume) < 1e-6 * volume.max() * 100
    assert volume[0] == pytest.approx(GRID.spacing**3 / 12, rel=1e-4)
    lengths = np.sort(np.stack([np.linalg.norm(corners()[:, a] - corners()[:, b], axis=1) for a, b in EDGES]), 0)
    expected = GRID.spacing * np.array([0.75**0.5] * 4 + [1.0] * 2)
    assert np.abs(lengths - expected[:, None]).max() < 1e-6


def test_tetrahedra_fill_the_ball_without_overlap():
    points = np.random.default_rng(0).normal(size=(40, 3))
    points *= (
        (np.random.default_rng(1).random((40, 1)) ** (1 / 3))
        * (0.97 - GRID.spacing)
        / np.linalg.norm(points, axis=1, keepdims=True)
    )
    base = corners()[:, 0]
    inverse = np.linalg.inv((corners()[:, 1:] - base[:, None]).transpose(0, 2, 1))
    weights = np.einsum("tij,ptj->pti", inverse, points[:, None] - base)
    holds = (weights > 0).all(-1) & (weights.sum(-1) < 1)
    assert (holds.sum(1) == 1).all()


def test_edges_belong_to_their_tetrahedra():
    pairs = np.sort(GRID.tetrahedra[:, np.array(EDGES)], -1)
    assert (GRID.edges[GRID.tetrahedron_edges] == pairs).all()
    assert len(np.unique(GRID.edges, axis=0)) == len(GRID.edges)
    radius = np.linalg.norm(GRID.vertices, axis=1)
    assert radius.max() <= 1 + 1e-6
    assert radius[GRID.border].min() > 1 - 2 * GRID.spacing
    assert not GRID.border[radius < 1 - 2 * GRID.spacing].any()


def test_sizes_out_of_range():
    with pytest.raises(UserError, match="out of range"):
        tetrahedral_grid(2)
