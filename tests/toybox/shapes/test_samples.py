"""Grids and points of attributed shapes."""

import numpy as np
import torch

from distill3d.toybox.shapes import KINDS, sample_shape
from distill3d.toybox.shapes.samples import shape_batch
from distill3d.toybox.shapes.solid_grid import filled_cells, holding_part
from distill3d.toybox.solids import contains


def _reference(parts, points):
    labels = np.full(len(points), -1)
    for i, part in enumerate(parts):
        labels[contains(part, points)] = i
    return labels


def test_points_are_held_by_the_part_that_the_exact_test_says():
    rng = np.random.default_rng(1)
    for kind in KINDS:
        shape = sample_shape(rng, kind)
        points = rng.uniform(-1, 1, (4000, 3))
        assert np.array_equal(holding_part(shape.parts, points), _reference(shape.parts, points))


def test_cells_are_filled_where_their_centres_are_held():
    shape = sample_shape(np.random.default_rng(2), "chair")
    side = (np.arange(32) + 0.5) / 16 - 1
    centres = np.stack(np.meshgrid(side, side, side, indexing="ij"), -1).reshape(-1, 3)
    assert np.array_equal(filled_cells(shape.parts, 32).ravel(), _reference(shape.parts, centres))


def test_shapes_fill_the_ball_that_toys_do():
    rng = np.random.default_rng(4)
    for _ in range(20):
        grid = np.argwhere(filled_cells(sample_shape(rng).parts, 64) >= 0)
        reach = np.linalg.norm((grid + 0.5) / 32 - 1, axis=1).max()
        assert 0.84 < reach < 0.92


def test_a_batch_is_the_same_each_time_and_another_one_is_not():
    first, again, other = shape_batch(5, 0, 2, 64, 32), shape_batch(5, 0, 2, 64, 32), shape_batch(5, 1, 2, 64, 32)
    assert torch.equal(first.points, again.points)
    assert torch.equal(first.fine, again.fine)
    assert not torch.equal(first.fine, other.fine)


def test_points_inside_are_inside_and_both_answers_are_asked_for():
    batch = shape_batch(6, 0, 4, 512, 256)
    for i, shape in enumerate(batch.shapes):
        within = holding_part(shape.parts, batch.inside[i].numpy()) >= 0
        assert within.mean() > 0.8  # drawn from filled cells, whose rims stick out a little
        assert 0.1 < float(batch.filled[i].float().mean()) < 0.6
        assert np.array_equal(holding_part(shape.parts, batch.points[i].numpy()) >= 0, batch.filled[i].numpy())
    assert batch.coarse.shape == (4, 32, 32, 32)
    assert torch.allclose(batch.coarse.mean(), batch.fine.mean())
