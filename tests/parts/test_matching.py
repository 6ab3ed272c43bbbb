"""Which part stands for which."""

from __future__ import annotations

import torch

from distill3d.parts.matching import matched
from tests.parts.tiny import tiny_network, tiny_shape


def test_a_shuffled_shape_finds_its_order_again():
    shape = tiny_shape(tiny_network(), 3)
    shuffled = shape.only(torch.tensor([4, 0, 3, 1, 2]))
    back = matched(shuffled, shape)
    assert torch.equal(back.gaussians.means, shape.gaussians.means)
    assert torch.equal(back.intrinsics, shape.intrinsics)
    assert not torch.equal(shuffled.intrinsics, shape.intrinsics)


def test_the_whole_is_nearest_not_each_part():
    """0 and 1 are both nearest to the other's 0.2; all in all it is better that one of them goes further."""
    shape = tiny_shape(tiny_network(), 3)

    def at(*x: float):
        some = shape.only(torch.arange(len(x)))
        means = torch.zeros(len(x), 3)
        means[:, 0] = torch.tensor(x)
        return type(some)(type(some.gaussians)(means, *list(vars(some.gaussians).values())[1:]), some.intrinsics)

    found = matched(at(0.2, 0.0), at(0.1, -0.5))
    assert found.gaussians.means[:, 0].tolist() == [torch.tensor(0.2).item(), 0.0]
