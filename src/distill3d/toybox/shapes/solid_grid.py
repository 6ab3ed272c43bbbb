"""Parts as a grid of filled cells, and points told inside or outside: what part Gaussians learn from."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numba as nb
import numpy as np

from distill3d.toybox.extent import bounds, pack
from distill3d.toybox.parts import Part

_BOX, _ELLIPSOID, _FRUSTUM, _TORUS, _CAPSULE, _PYRAMID = range(6)


def filled_cells(parts: Sequence[Part], cells: int) -> np.ndarray:
    """Which part holds each cell's centre, of a grid over [-1, 1]^3: [cells, cells, cells] int8, -1 outside.

    Indexed [x, y, z]. Where parts overlap the later one counts.
    """
    boxes = np.stack([bounds([part]) for part in parts])
    labels = np.full((cells, cells, cells), -1, np.int8)
    _fill(*pack(list(parts)), boxes, labels)
    return labels


def holding_part(parts: Sequence[Part], points: np.ndarray) -> np.ndarray:
    """Which part holds each of `points` [N, 3], [N] int8, -1 outside; the later one where parts overlap."""
    labels = np.full(len(points), -1, np.int8)
    boxes = np.stack([bounds([part]) for part in parts])
    _label(*pack(list(parts)), boxes, np.ascontiguousarray(points, np.float64), labels)
    return labels


@nb.njit(cache=True)
def _inside(kind, size, x, y, z):
    """Whether a point of the part's own frame lies in it; as `solids.contains`."""
    a, b, c = size
    if kind == _BOX:
        return abs(x) <= a and abs(y) <= b and abs(z) <= c
    if kind == _ELLIPSOID:
        return (x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2 <= 1.0
    if kind == _FRUSTUM:
        radius = a + (b - a) * (z / c + 1) / 2
        return abs(z) <= c and x * x + y * y <= radius * radius
    if kind == _TORUS:
        return (math.sqrt(x * x + y * y) - a) ** 2 + z * z <= b * b
    if kind == _CAPSULE:
        past = z - min(max(z, -b), b)
        return x * x + y * y + past * past <= a * a
    taper = (1 - z / c) / 2
    across = a * taper if kind == _PYRAMID else a
    return abs(z) <= c and abs(x) <= across and abs(y) <= b * taper


@nb.njit(cache=True)
def _holds(kinds, sizes, centers, rotations, p, x, y, z):
    dx, dy, dz = x - centers[p, 0], y - centers[p, 1], z - centers[p, 2]
    r = rotations[p]
    u = dx * r[0, 0] + dy * r[1, 0] + dz * r[2, 0]
    v = dx * r[0, 1] + dy * r[1, 1] + dz * r[2, 1]
    w = dx * r[0, 2] + dy * r[1, 2] + dz * r[2, 2]
    return _inside(kinds[p], sizes[p], u, v, w)


@nb.njit(cache=True)
def _fill(kinds, sizes, centers, rotations, boxes, labels):
    n = labels.shape[0]
    for p in range(len(kinds)):
        first = np.empty(3, np.int64)
        last = np.empty(3, np.int64)
        for k in range(3):
            first[k] = max(0, math.floor((boxes[p, 0, k] + 1) * n / 2) - 1)
            last[k] = min(n - 1, math.ceil((boxes[p, 1, k] + 1) * n / 2) + 1)
        for i in range(first[0], last[0] + 1):
            for j in range(first[1], last[1] + 1):
                for k in range(first[2], last[2] + 1):
                    x, y, z = (2 * i + 1) / n - 1, (2 * j + 1) / n - 1, (2 * k + 1) / n - 1
                    if _holds(kinds, sizes, centers, rotations, p, x, y, z):
                        labels[i, j, k] = p


@nb.njit(cache=True)
def _label(kinds, sizes, centers, rotations, boxes, points, labels):
    for i in range(len(points)):
        x, y, z = points[i]
        for p in range(len(kinds) - 1, -1, -1):
            b = boxes[p]
            if x < b[0, 0] or x > b[1, 0] or y < b[0, 1] or y > b[1, 1] or z < b[0, 2] or z > b[1, 2]:
                continue
            if _holds(kinds, sizes, centers, rotations, p, x, y, z):
                labels[i] = p
                break
