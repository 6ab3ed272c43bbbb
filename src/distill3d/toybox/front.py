"""Which way an asset faces, and whether it has its front once: the multi-face check."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

import numpy as np

from distill3d.toybox.alignment import YAWS, Pose, Shape, refine

FAR, OTHER = 0.15, 50.0  # distance (of the radius) and CIE76 difference from which two surface points have nothing in common
TURNS = (90.0, 120.0, 180.0, 240.0, 270.0)  # degrees, where a second face could be
ONCE = 0.15  # least contrast of an object that has its front once
POINTS = 800


def facing(shape: Shape, truths: Sequence[Shape]) -> Pose:
    """The pose that takes `shape` best onto the truths, in place and colour, over YAWS steps of yaw all around."""
    cost = [
        np.mean([difference(truth, shape, Pose(2 * pi * k / YAWS), points=250).mean() for truth in truths])
        for k in range(YAWS)
    ]
    return Pose(2 * pi * int(np.argmin(cost)) / YAWS)


def difference(truth: Shape, shape: Shape, pose: Pose, points: int = POINTS) -> np.ndarray:
    """How much is wrong at points of the truth's surface when `shape` is put over it, [points] in 0..1.

    The larger of: distance to the nearest surface point (1 from FAR on), and difference to its colour (1 from OTHER on).
    """
    there = truth.points[:points]
    distance, index = shape.tree.query(pose.back(there))
    color = np.linalg.norm(truth.lab[:points] - shape.lab[index], axis=1)
    return np.maximum(np.minimum(distance * pose.scale / FAR, 1), np.minimum(color / OTHER, 1))


def front_contrast(shape: Shape, pose: Pose, truths: Sequence[Shape]) -> float:
    """How much better the fronts of the truths are found where they should be than anywhere else around.

    A point of a truth counts by the square of what is wrong there when the truth is put over itself the wrong way
    round: headlights, a face, a backrest. D(angle) is the mean `difference` at those points with `shape` turned by
    angle from `pose` (and then refined). The contrast is (D' - D(0)) / (D' + D(0)) with D' the least of D over TURNS:
    near 1 for a perfect copy, 0 for an object that has its front twice, or not at all.
    """
    contrasts = []
    for truth in truths:
        back = refine(truth, Pose(pi), truth)
        weights = difference(truth, truth, back) ** 2
        weights /= max(float(weights.sum()), 1e-9)
        right = weights @ difference(truth, shape, refine(shape, pose, truth))
        turned = [pose.turned(np.deg2rad(turn)) for turn in TURNS]
        wrong = min(weights @ difference(truth, shape, refine(shape, turn, truth)) for turn in turned)
        contrasts.append((wrong - right) / max(wrong + right, 1e-9))
    return float(np.mean(contrasts))
