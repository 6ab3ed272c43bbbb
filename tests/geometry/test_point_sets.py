"""COV, MMD and 1-NNA where the answer is known."""

import torch

from distill3d.geometry.point_sets import (
    chamfer_distances,
    coverage,
    minimum_matching_distance,
    one_nearest_neighbour_accuracy,
)


def _clouds(count, seed, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    middles = torch.randn(count, 1, 3, generator=generator) + shift
    return middles + 0.05 * torch.randn(count, 40, 3, generator=generator)


def test_chamfer_is_the_sum_over_both_directions_by_the_definition():
    a, b = _clouds(3, 0), _clouds(5, 1)
    expected = torch.empty(3, 5)
    for i in range(3):
        for j in range(5):
            squared = (a[i][:, None] - b[j][None]).square().sum(-1)
            expected[i, j] = squared.min(1).values.mean() + squared.min(0).values.mean()
    assert torch.allclose(chamfer_distances(a, b), expected, atol=1e-5)
    assert torch.allclose(chamfer_distances(a, a).diag(), torch.zeros(3), atol=1e-5)


def test_a_set_against_itself_is_covered_and_matched():
    between = chamfer_distances(_clouds(20, 2), _clouds(20, 2))
    assert coverage(between) == 1.0
    assert minimum_matching_distance(between) < 1e-5


def test_one_shape_over_and_over_covers_one():
    real = _clouds(20, 2)
    between = chamfer_distances(real[:1].expand(20, -1, -1), real)
    assert coverage(between) == 1 / 20
    assert minimum_matching_distance(between) > 0.1


def test_sets_of_one_kind_cannot_be_told_apart_and_others_can():
    a, b, far = _clouds(150, 3), _clouds(150, 4), _clouds(150, 5, shift=20.0)
    own = chamfer_distances(a, a)
    same = one_nearest_neighbour_accuracy(own, chamfer_distances(a, b), chamfer_distances(b, b))
    apart = one_nearest_neighbour_accuracy(own, chamfer_distances(a, far), chamfer_distances(far, far))
    assert 0.4 < same < 0.6
    assert apart == 1.0
