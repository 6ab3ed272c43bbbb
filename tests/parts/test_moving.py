"""Parts moved by hand."""

from __future__ import annotations

import math

import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.parts.moving import moved, turn
from tests.parts.tiny import tiny_network, tiny_shape


@pytest.fixture(scope="module")
def shape():
    return tiny_shape(tiny_network())


def mask(*chosen: int) -> torch.Tensor:
    return torch.tensor([i in chosen for i in range(5)])


def test_a_shift_moves_the_means_and_nothing_else(shape):
    shift = torch.tensor([0.1, -0.2, 0.05])
    after = moved(shape, mask(1, 3), shift, torch.eye(3), 1.0)
    assert torch.equal(after.gaussians.means[[1, 3]], shape.gaussians.means[[1, 3]] + shift)
    for part in (0, 2, 4):
        assert torch.equal(after.gaussians.means[part], shape.gaussians.means[part])
    assert torch.equal(after.gaussians.axes, shape.gaussians.axes)
    assert torch.equal(after.gaussians.eigenvalues, shape.gaussians.eigenvalues)
    assert after.intrinsics is shape.intrinsics


def test_one_part_turns_and_grows_where_it_is(shape):
    after = moved(shape, mask(2), torch.zeros(3), turn("z", 90), 1.5)
    assert torch.allclose(after.gaussians.means[2], shape.gaussians.means[2], atol=1e-6)
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    expected = 2.25 * quarter @ shape.gaussians.covariances[2] @ quarter.T
    assert torch.allclose(after.gaussians.covariances[2], expected, atol=1e-6)
    assert not torch.allclose(after.gaussians.covariances[2], 2.25 * shape.gaussians.covariances[2], atol=1e-4)
    assert torch.equal(after.gaussians.covariances[0], shape.gaussians.covariances[0])


def test_several_parts_keep_their_distances_and_their_middle(shape):
    after = moved(shape, mask(0, 4), torch.zeros(3), turn("y", 50), 0.5)
    weights = shape.gaussians.logits[[0, 4]].softmax(-1)
    before, then = shape.gaussians.means[[0, 4]], after.gaussians.means[[0, 4]]
    assert torch.allclose(weights @ before, weights @ then, atol=1e-6)
    assert float((then[0] - then[1]).norm()) == pytest.approx(0.5 * float((before[0] - before[1]).norm()), rel=1e-4)
    assert not torch.allclose(before, then, atol=1e-3)


@pytest.mark.parametrize(("axis", "start", "end"), [("x", 1, 2), ("y", 2, 0), ("z", 0, 1)])
def test_turns_are_counter_clockwise(axis, start, end):
    rotation = turn(axis, 90)
    unit = torch.eye(3)
    assert torch.allclose(rotation @ unit[start], unit[end], atol=1e-6)
    assert float(rotation.det()) == pytest.approx(1.0)
    assert torch.allclose(turn(axis, 30) @ turn(axis, 60), rotation, atol=1e-6)
    assert float(turn(axis, 60)[start, start]) == pytest.approx(math.cos(math.pi / 3))


def test_what_cannot_be(shape):
    with pytest.raises(UserError, match=r"the scale is 0\.1 to 10"):
        moved(shape, mask(0), torch.zeros(3), torch.eye(3), 0.0)
    with pytest.raises(UserError, match="part 1 would leave the world"):
        moved(shape, mask(1), torch.tensor([0.0, 0.0, 3.0]), torch.eye(3), 1.0)
    with pytest.raises(UserError, match="x, y or z"):
        turn("w", 90)
