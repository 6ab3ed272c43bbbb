"""Shapes in one piece and in several, and the choice among versions."""

from __future__ import annotations

import numpy as np
import pytest

from distill3d.parts import connected
from distill3d.parts.connected import best_connected, largest_piece
from tests.parts.tiny import tiny_network, tiny_shape


def test_pieces_hang_together_at_corners_and_come_apart_at_gaps():
    filled = np.zeros((8, 8, 8), bool)
    assert largest_piece(filled) == 0.0
    filled[1:3, 1:3, 1:3] = True
    filled[3, 3, 3] = True
    assert largest_piece(filled) == 1.0
    filled[5:7, 6, 6] = True  # two cells beyond a gap
    assert largest_piece(filled) == pytest.approx(9 / 11)


def test_the_first_whole_version_is_taken_and_else_the_best(monkeypatch):
    versions = [tiny_shape(tiny_network(), seed) for seed in range(3)]
    shares: list[float] = []
    monkeypatch.setattr(connected, "logit_grid", lambda network, shape, resolution: np.zeros(1))
    monkeypatch.setattr(connected, "largest_piece", lambda filled: shares.pop(0))
    for given, taken in (([0.5, 1.0, 1.0], 1), ([0.5, 0.9, 0.7], 1), ([1.0, 0.2, 0.2], 0), ([0.1, 0.2, 0.995], 2)):
        shares[:] = [share for share in given for _ in range(2)]
        assert best_connected(tiny_network(), versions) is versions[taken]
    shares[:] = [1.0, 0.4, 1.0, 1.0]  # the first hangs by a hair
    assert best_connected(tiny_network(), versions) is versions[1]


def test_a_real_grid_is_looked_at():
    network = tiny_network()
    versions = [tiny_shape(network, seed) for seed in range(2)]
    shares = [largest_piece(connected.logit_grid(network, version, 17) > 0) for version in versions]
    assert all(share > 0 for share in shares)
    chosen = best_connected(network, versions, 17)
    assert any(chosen is version for version in versions)
