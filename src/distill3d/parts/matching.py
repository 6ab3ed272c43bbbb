"""Which part of one shape stands for which of another: a set has no order of its own."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment

from distill3d.parts.parts import Parts


def matched(shape: Parts, other: Parts) -> Parts:
    """The parts of `shape` in the order in which their places are, in all, nearest to those of `other`."""
    cost = torch.cdist(other.gaussians.means, shape.gaussians.means).square()
    _, order = linear_sum_assignment(cost.detach().cpu().numpy())
    return shape.only(torch.as_tensor(order))
