"""Which way an asset faces, and whether it has its front once: the multi-face check."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

import numpy as np

from distill3d.toybox.alignment import YAWS, Pose, Shape, refine

FAR, OTHER = (
    0.15,
    50.0,
)  # distance (of the radius) and CIE76 difference from which two surface points have nothing in common
TURNS = (90.0, 120.0, 180.0, 240.0, 270.0)  # degrees, where a second face could be
ONCE = 0.08  # least contrast of an object that has its front once
POINTS = 600


def facing(shape: Shape, truths: Sequence[Shape], front: bool = True) -> Pose:
    """The pose that takes `shape` best onto the truths, in place and colour, over YAWS steps of yaw all around.

    Where there is a `front`, it decides between the best pose and its quarter turns: small as it may be, it is where
    the truths' fronts are found best.
    """
    cost = [
        np.mean([difference(truth, shape, Pose(2 * pi * k / YAWS), points=150).mean() for truth in truths])
        for k in range(YAWS)
    ]
    best = Pose(2 * pi * int(np.argmin(cost)) / YAWS)
    if not front:
        return best
    poses = [best.turned(k * pi / 2) for k in range(4)]
    misses = np.array([front_misses(shape, poses, truth) for truth in truths])
    return poses[int(misses.mean(0).argmin())]


def difference(truth: Shape, shape: Shape, pose: Pose, points: int = POINTS) -> np.ndarray:
    """How much is wrong at points of the truth's surface when `shape` is put over it, [points] in 0..1.

    The larger of distance to the nearest surface point (1 from FAR on) and difference to its colour (1 from OTHER on).
    """
    there = truth.points[:points]
    distance, index = shape.tree.query(pose.back(there))
    color = np.linalg.norm(truth.lab[:points] - shape.lab[index], axis=1)
    return np.maximum(np.minimum(distance * pose.scale / FAR, 1), np.minimum(color / OTHER, 1))


def front_misses(shape: Shape, poses: Sequence[Pose], truth: Shape) -> list[float]:
    """How much of the truth's front is missing at each pose (refined before), 0..1.

    The mean `difference` over the truth's surface, each point weighted by the square of what is wrong there when the
    truth is put over itself the wrong way round: headlights, a face, a backrest count, what is alike in front and back
    does not.
    """
    weights = difference(truth, truth, refine(truth, Pose(pi), truth)) ** 2
    weights /= max(float(weights.sum()), 1e-9)
    return [float(weights @ difference(truth, shape, refine(shape, pose, truth))) for pose in poses]


def front_contrast(shape: Shape, pose: Pose, truths: Sequence[Shape]) -> float:
    """How much better the fronts of the truths are found where they should be than anywhere else around.

    (M' - M) / (M' + M), averaged over truths, with M the `front_misses` at `pose` and M' the least of them when the
    shape is turned from there by TURNS: towards 1 for a perfect copy, 0 for an object that has its front twice or not
    at all.
    """
    poses = [pose, *(pose.turned(float(np.deg2rad(turn))) for turn in TURNS)]
    contrasts = []
    for truth in truths:
        right, *turned = front_misses(shape, poses, truth)
        contrasts.append((min(turned) - right) / max(min(turned) + right, 1e-9))
    return float(np.mean(contrasts))
