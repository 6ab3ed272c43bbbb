"""Parts that are moved by hand: shifted, turned and scaled about their own middle."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.parts.parts import Parts

SCALES = (0.1, 10.0)


def moved(shape: Parts, chosen: Tensor, shift: Tensor, rotation: Tensor, scale: float) -> Parts:
    """One shape with the parts `chosen` [P] (bool) by x -> c + scale R (x - c) + shift, c their weighted middle.

    Only the extrinsics move; what the parts hold goes with them, and the others come back to the bit (SPAGHETTI,
    section 4.2).

    Args:
        shift: [3], world units. rotation: [3, 3].
    Raises:
        UserError: a scale out of range, or a part would leave the cube that shapes live in.
    """
    low, high = SCALES
    if not low <= scale <= high:
        raise UserError(f"the scale is {low:g} to {high:g} (got {scale:g})")
    gaussians = shape.gaussians
    weights = gaussians.logits[chosen].softmax(-1)
    middle = weights @ gaussians.means[chosen]
    factor = torch.tensor(scale)
    still = middle - factor * rotation @ middle  # exactly 0 for parts that are only shifted
    done = gaussians.moved(rotation, factor, shift + still, chosen)
    gone = (done.means.abs() > 1).any(-1) & chosen
    if gone.any():
        raise UserError(f"part {int(gone.nonzero()[0])} would leave the world, which is -1 to 1 along each axis")
    return Parts(done, shape.intrinsics)


def turn(axis: str, degrees: float) -> Tensor:
    """Rotation [3, 3] about x, y or z, counter-clockwise for who looks against the axis.

    Raises:
        UserError: another axis.
    """
    if axis not in ("x", "y", "z"):
        raise UserError(f"the axis of a rotation is x, y or z (got {axis!r})")
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    rotation = torch.eye(3)
    rotation[first, first] = rotation[second, second] = cosine
    rotation[second, first], rotation[first, second] = sine, -sine
    return rotation
