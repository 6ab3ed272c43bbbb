"""Two objects laid over each other by yaw, scale and shift; how far they overlap then, and how far apart they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from math import cos, pi, sin

import numba as nb
import numpy as np
from scipy.ndimage import map_coordinates, uniform_filter
from scipy.spatial import ConvexHull, cKDTree

from distill3d.toybox.palette import lab

FINE, COARSE = 64, 32  # cells along each side of the grids over [-1, 1]^3
YAWS = 36  # steps of the coarse search, 10 degrees


@dataclass(frozen=True)
class Shape:
    """An object in its own frame, in which it just fits into the unit ball.

    Args:
        points: [N, 3] evenly over the visible surface. colors: [N, 3] in 0..1, there.
        solid: [FINE, FINE, FINE] bool, which cells of [-1, 1]^3 it fills.
    """

    points: np.ndarray
    colors: np.ndarray
    solid: np.ndarray = field(repr=False)

    @cached_property
    def tree(self) -> cKDTree:
        return cKDTree(self.points)

    @cached_property
    def lab(self) -> np.ndarray:
        """CIE Lab of the colours, [N, 3]."""
        return lab(self.colors)

    @cached_property
    def smooth(self) -> np.ndarray:
        """Share of a coarse cell that is filled, at every fine cell's centre, [FINE] * 3 float32."""
        return uniform_filter(self.solid.astype(np.float32), FINE // COARSE, mode="constant")


@dataclass(frozen=True)
class Pose:
    """x -> scale * (x turned by `yaw` radians about z, x towards y) + shift."""

    yaw: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def rotation(self) -> np.ndarray:
        c, s = cos(self.yaw), sin(self.yaw)
        return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return self.scale * points @ self.rotation.T + np.asarray(self.shift)

    def turned(self, angle: float) -> Pose:
        """The same pose of an object that was turned by `angle` before."""
        return Pose(self.yaw + angle, self.scale, self.shift)

    def back(self, points: np.ndarray) -> np.ndarray:
        return (points - np.asarray(self.shift)) @ self.rotation / self.scale


def frame(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre [3] and radius of the frame of an object with these surface points, the same from every yaw.

    In plan the centre is that of the smallest circle around the object, in height the middle.
    """
    plan = points[:, :2]
    x, y = _circle_center(plan[ConvexHull(plan, qhull_options="QJ").vertices].astype(np.float64))
    center = np.array([x, y, (points[:, 2].min() + points[:, 2].max()) / 2])
    return center, float(np.linalg.norm(points - center, axis=1).max())


@nb.njit(cache=True)
def _circle_center(plan):
    """Of the smallest circle around plan [N, 2], nearly (Badoiu and Clarkson 2003): to the farthest, ever less."""
    x, y = (plan[:, 0].min() + plan[:, 0].max()) / 2, (plan[:, 1].min() + plan[:, 1].max()) / 2
    for i in range(1, 200):
        far, most = 0, -1.0
        for k in range(len(plan)):
            distance = (plan[k, 0] - x) ** 2 + (plan[k, 1] - y) ** 2
            if distance > most:
                far, most = k, distance
        x += (plan[far, 0] - x) / (i + 1)
        y += (plan[far, 1] - y) / (i + 1)
    return x, y


def occupancies(shape: Shape, pose: Pose, cells: int = COARSE) -> np.ndarray:
    """How full the cells of a grid over [-1, 1]^3 are of the posed object, [cells ** 3] float32 in 0..1."""
    places = (pose.back(_centers(cells)) + 1) * (FINE / 2) - 0.5
    return map_coordinates(shape.smooth, places.T, order=1, mode="constant", prefilter=False)


def turned_occupancies(shape: Shape) -> np.ndarray:
    """`occupancies` at YAWS equal steps of yaw, [YAWS, COARSE ** 3]."""
    return np.stack([occupancies(shape, Pose(2 * pi * k / YAWS)) for k in range(YAWS)])


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU of soft occupancies [A, C] with [B, C] -> [A, B]: ab / (aa + bb - ab) (Tanimoto), for 0 and 1 the usual."""
    common = first @ second.T
    return common / np.maximum((first * first).sum(1)[:, None] + (second * second).sum(1) - common, 1e-9)


def iou(shape: Shape, pose: Pose, other: Shape) -> float:
    """Volumetric intersection over union of the posed `shape` and `other`, on the fine grid."""
    back = pose.rotation / pose.scale  # of rows
    common, either = _common_cells(shape.solid, other.solid, back, np.asarray(pose.shift, np.float64))
    return float(common / max(1, either))


@nb.njit(cache=True)
def _common_cells(posed, truth, back, shift):
    """How many cells of two solids [N, N, N] both fill, and either: cell x of the first lies at (x - shift) @ back."""
    n = len(truth)
    common = either = 0
    for i in range(n):
        for j in range(n):
            for k in range(n):
                x = (i + 0.5) * (2 / n) - 1 - shift[0]
                y = (j + 0.5) * (2 / n) - 1 - shift[1]
                z = (k + 0.5) * (2 / n) - 1 - shift[2]
                a = round((x * back[0, 0] + y * back[1, 0] + z * back[2, 0] + 1) * (n / 2) - 0.5)
                b = round((x * back[0, 1] + y * back[1, 1] + z * back[2, 1] + 1) * (n / 2) - 0.5)
                c = round((x * back[0, 2] + y * back[1, 2] + z * back[2, 2] + 1) * (n / 2) - 0.5)
                filled = 0 <= a < n and 0 <= b < n and 0 <= c < n and posed[int(a), int(b), int(c)]
                common += 1 if filled and truth[i, j, k] else 0
                either += 1 if filled or truth[i, j, k] else 0
    return common, either


def chamfer(shape: Shape, pose: Pose, other: Shape) -> float:
    """Mean distance of each surface's points to the nearest of the other, both ways averaged; unit: other's radius."""
    there = other.tree.query(pose(shape.points))[0].mean()
    back = shape.tree.query(pose.back(other.points))[0].mean() * pose.scale
    return float(there + back) / 2


def refine(shape: Shape, pose: Pose, other: Shape, rounds: int = 5, points: int = 400) -> Pose:
    """A better pose near `pose`: iterated closest points (Besl and McKay 1992), both ways, over all that a pose is."""
    mine, its = shape.points[:points], other.points[:points]
    for _ in range(rounds):
        near = other.points[other.tree.query(pose(mine))[1]]
        far = shape.points[shape.tree.query(pose.back(its))[1]]
        pose = _fit(np.concatenate([mine, far]), np.concatenate([near, its]))
    return pose


def _fit(source: np.ndarray, target: np.ndarray) -> Pose:
    """The pose that takes source [N, 3] closest to target [N, 3] in the mean square."""
    a, b = source - source.mean(0), target - target.mean(0)
    turn = np.vdot(a[:, 0] + 1j * a[:, 1], b[:, 0] + 1j * b[:, 1])  # of the plan, as complex numbers
    yaw = float(np.angle(turn))
    scale = float((abs(turn) + a[:, 2] @ b[:, 2]) / (a * a).sum())
    scale = min(max(scale, 0.7), 1.4)
    shift = target.mean(0) - Pose(yaw, scale)(source.mean(0))
    return Pose(yaw, scale, (float(shift[0]), float(shift[1]), float(shift[2])))


@lru_cache(maxsize=4)
def _centers(cells: int) -> np.ndarray:
    """[cells ** 3, 3]"""
    line = (np.arange(cells) + 0.5) * (2 / cells) - 1
    return np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
