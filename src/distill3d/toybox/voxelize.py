"""The solid that a triangle mesh bounds, on a grid: winding numbers by signed crossings, with a vote against holes."""

from __future__ import annotations

import numba as nb
import numpy as np

# Columns pass beside lattice points, for edges of made things like to lie exactly on those.
_OFFSET = (1.234e-4, -2.345e-4, 3.456e-4)  # cells


def solid_cells(triangles: np.ndarray, cells: int) -> np.ndarray:
    """Which cell centres of a grid over [-1, 1]^3 lie inside a mesh.

    Along each axis, from both ends, the signed crossings of the column with the triangles sum to the winding number
    of a cell's centre. A centre is inside where at least four of these six counts say so: for closed surfaces, also
    ones that overlap, all six agree; through a hole some go wrong and are outvoted.

    Args:
        triangles: [F, 3, 3] corners, counter-clockwise seen from outside (or all the other way around).
        cells: along each side.
    Returns:
        [cells, cells, cells] bool, indexed [x, y, z].
    """
    corners = np.asarray(triangles, np.float64)
    volume = float(np.einsum("fc,fc->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])))
    if volume < 0:
        corners = corners[:, ::-1]
    corners = (corners + 1) * (cells / 2) - 0.5 + np.array(_OFFSET)
    votes = np.zeros((cells, cells, cells), np.uint8)
    for axis in range(3):
        turned = np.ascontiguousarray(np.roll(corners, -(axis + 1), axis=2))  # the column's axis last
        steps = np.zeros((cells, cells, cells + 1), np.int16)
        _crossings(turned, steps)
        _vote(steps, np.moveaxis(votes, tuple((axis + 1 + k) % 3 for k in range(3)), (0, 1, 2)))
    return votes >= 4


@nb.njit(cache=True)
def _crossings(corners, steps):
    """Adds to steps [N, N, N + 1] where columns along the last axis enter (+1) and leave (-1); units are cells."""
    n = steps.shape[0]
    for f in range(len(corners)):
        ax, ay, az = corners[f, 0]
        bx, by, bz = corners[f, 1]
        cx, cy, cz = corners[f, 2]
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if area == 0.0:
            continue
        sign = -1 if area > 0 else 1  # a face that looks up is where a column leaves
        first_x, last_x = max(0, int(np.ceil(min(ax, bx, cx)))), min(n - 1, int(np.floor(max(ax, bx, cx))))
        first_y, last_y = max(0, int(np.ceil(min(ay, by, cy)))), min(n - 1, int(np.floor(max(ay, by, cy))))
        for x in range(first_x, last_x + 1):
            for y in range(first_y, last_y + 1):
                u = ((bx - x) * (cy - y) - (cx - x) * (by - y)) / area
                v = ((cx - x) * (ay - y) - (ax - x) * (cy - y)) / area
                w = ((ax - x) * (by - y) - (bx - x) * (ay - y)) / area
                if u >= 0 and v >= 0 and w >= 0:
                    z = int(np.ceil(u * az + v * bz + w * cz))
                    steps[x, y, min(max(z, 0), n)] += sign


@nb.njit(cache=True)
def _vote(steps, votes):
    """Adds to votes [N, N, N] one where the count from the first end is positive, and one for that from the last."""
    n = votes.shape[0]
    for x in range(n):
        for y in range(n):
            total = 0
            for z in range(n + 1):
                total += steps[x, y, z]
            count = 0
            for z in range(n):
                count += steps[x, y, z]
                votes[x, y, z] += (1 if count > 0 else 0) + (1 if count > total else 0)
