"""The loops of `antialias` on a CPU: which pairs of pixels have an edge between them, and what it does to them.

Arrays that the functions share:
    points, lenses, triangle: as in `rasterize_numba`.
    ends, starts, sides: the fields of `MeshEdges`.
    pairs: [N, 5] int64: picture, row and column of the inner pixel, which way the outer one lies (-1 or 1 along the
        axis), edge's first end; then [N] int32 second end and [N] float64 share, along one axis, in a fixed order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange

COMPILE: dict[str, Any] = {"cache": True, "error_model": "numpy", "nogil": True}
NEAR = 1e-6  # edges with an end nearer to the camera's plane are left alone


@njit(**COMPILE, parallel=True)
def orientations(points, faces):  # type: ignore[no-untyped-def]
    """[B, F] int8: the sign of the volume that each face spans with the camera; 0 where it is seen edge-on."""
    pictures, count = len(points), len(faces)
    chunks = (count + 4095) // 4096
    signs = np.empty((pictures, count), np.int8)
    for job in prange(pictures * chunks):
        b, first = job // chunks, job % chunks * 4096
        for f in range(first, min(count, first + 4096)):
            p, q, r = points[b, faces[f, 0]], points[b, faces[f, 1]], points[b, faces[f, 2]]
            volume = p[0] * (q[1] * r[2] - q[2] * r[1]) + p[1] * (q[2] * r[0] - q[0] * r[2])
            volume += p[2] * (q[0] * r[1] - q[1] * r[0])
            signs[b, f] = int(volume > 0.0) - int(volume < 0.0)
    return signs


@njit(**COMPILE)
def inner_side(edge, starts, sides, signs):  # type: ignore[no-untyped-def]
    """1 or -1: where all faces of an edge a, b lie, as the sign of d . (a x b); 0 where they lie on both sides."""
    low, high = 1, -1
    for place in range(starts[edge], starts[edge + 1]):
        side = sides[place]
        sign = signs[side >> 1] if side & 1 else -signs[side >> 1]
        low, high = min(low, sign), max(high, sign)
    if high > 0 and low >= 0:
        return 1
    return -1 if low < 0 and high <= 0 else 0


@njit(**COMPILE)
def closeness(points, face, x, y):  # type: ignore[no-untyped-def]
    """Inverse depth of a face's plane on the ray (x, y, 1)."""
    p, q, r = points[face[0]], points[face[1]], points[face[2]]
    ux, uy, uz, vx, vy, vz = q[0] - p[0], q[1] - p[1], q[2] - p[2], r[0] - p[0], r[1] - p[1], r[2] - p[2]
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    return (x * nx + y * ny + nz) / (p[0] * nx + p[1] * ny + p[2] * nz)


@njit(**COMPILE)
def silhouette(points, ends, starts, sides, signs):  # type: ignore[no-untyped-def]
    """Edges [N] whose faces all lie on one side, and which side."""
    found, where, inner = 0, np.empty(len(ends), np.int32), np.empty(len(ends), np.int8)
    for e in range(len(ends)):
        side = inner_side(e, starts, sides, signs)
        if side != 0 and points[ends[e, 0], 2] > NEAR and points[ends[e, 1], 2] > NEAR:
            where[found], inner[found] = e, side
            found += 1
    return where[:found], inner[:found]


@njit(**COMPILE)
def cross(points, faces, ends, where, inner, lens, triangle, axis):  # type: ignore[no-untyped-def]
    """The pairs of one picture along one axis (0: within rows, 1: within columns): for each candidate the row, column,
    step, ends, share, and whether the edge is steep enough to be blended here; and the number of the candidate that
    won its pair, [H, W]."""
    height, width = triangle.shape
    lines, places = (height, width) if axis == 0 else (width, height)
    winner = np.full((height, width), -1, np.int32)
    whole, shares = np.empty((64, 6), np.int32), np.empty(64)
    found = 0
    for n in range(len(where)):
        a, b = ends[where[n], 0], ends[where[n], 1]
        p, q = points[a], points[b]
        along_a, along_b, across_a, across_b = p[3 + axis], q[3 + axis], p[4 - axis], q[4 - axis]
        first = int(min(max(math.ceil(min(across_a, across_b) - 0.5), 0.0), float(lines)))
        last = int(min(max(math.ceil(max(across_a, across_b) - 0.5), 0.0), float(lines)))
        if first >= last:
            continue
        slope = (along_b - along_a) / (across_b - across_a)
        # the normal of the edge's plane through the camera; its part along the axis says where the inside lies
        normal = p[1] * q[2] - p[2] * q[1] if axis == 0 else p[2] * q[0] - p[0] * q[2]
        inside_is_after = normal * inner[n] > 0.0
        for line in range(first, last):
            reach = (line + 0.5 - across_a) / (across_b - across_a)
            crossing = along_a + reach * (along_b - along_a)
            before = math.floor(crossing - 0.5)
            if not (before >= 0.0 and before + 1.0 < places):
                continue
            inner_place = int(before) + (1 if inside_is_after else 0)
            outer_place = 2 * int(before) + 1 - inner_place
            row, column = (line, inner_place) if axis == 0 else (inner_place, line)
            outer_row, outer_column = (line, outer_place) if axis == 0 else (outer_place, line)
            f, g = triangle[row, column], triangle[outer_row, outer_column]
            if f < 0 or f == g:
                continue
            if g >= 0:
                x, y = (outer_column + 0.5 - lens[2]) / lens[0], (outer_row + 0.5 - lens[3]) / lens[1]
                behind = closeness(points, faces[g], x, y)
                x, y = (column + 0.5 - lens[2]) / lens[0], (row + 0.5 - lens[3]) / lens[1]
                if closeness(points, faces[f], x, y) <= behind:
                    continue
                if (1.0 - reach) / p[2] + reach / q[2] <= behind:  # hidden by what the outer pixel sees
                    continue
            share = abs(crossing - 0.5 - inner_place)
            if found == len(whole):
                grown, more = np.empty((2 * found, 6), np.int32), np.empty(2 * found)
                grown[:found], more[:found] = whole, shares
                whole, shares = grown, more
            steep = abs(slope) < 1.0 or (abs(slope) == 1.0 and axis == 0)
            whole[found, 0], whole[found, 1], whole[found, 2] = row, column, outer_place - inner_place
            whole[found, 3], whole[found, 4], whole[found, 5] = a, b, int(steep)
            shares[found] = share
            # pairs are named by the pixel that comes first
            key_row, key_column = min(row, outer_row), min(column, outer_column)
            best = winner[key_row, key_column]
            if best < 0 or share > shares[best]:
                winner[key_row, key_column] = found
            found += 1
    return whole[:found], shares[:found], winner


@njit(**COMPILE)
def crossings(points, faces, ends, starts, sides, lenses, triangle):  # type: ignore[no-untyped-def]
    """The pairs to blend, along rows and along columns."""
    signs = orientations(points, faces)
    capacity = [0, 0]
    whole_of, shares_of, counts = [], [], []
    for b in range(len(points)):
        where, inner = silhouette(points[b], ends, starts, sides, signs[b])
        for axis in range(2):
            whole, shares, winner = cross(points[b], faces, ends, where, inner, lenses[b], triangle[b], axis)
            kept = 0
            for k in range(len(whole)):
                row, column, step = whole[k, 0], whole[k, 1], whole[k, 2]
                key_row = row + (min(step, 0) if axis == 1 else 0)
                key_column = column + (min(step, 0) if axis == 0 else 0)
                if whole[k, 5] == 1 and winner[key_row, key_column] == k:
                    whole[kept], shares[kept] = whole[k], shares[k]
                    kept += 1
            whole_of.append(whole[:kept])
            shares_of.append(shares[:kept])
            counts.append(kept)
            capacity[axis] += kept
    rows = np.empty((capacity[0], 7), np.int32), np.empty(capacity[0])
    columns = np.empty((capacity[1], 7), np.int32), np.empty(capacity[1])
    at = [0, 0]
    for n in range(len(counts)):
        axis = n % 2
        whole, shares = whole_of[n], shares_of[n]
        pairs, share = rows if axis == 0 else columns
        for k in range(counts[n]):
            place = at[axis] + k
            pairs[place, 0], pairs[place, 1], pairs[place, 2] = n // 2, whole[k, 0], whole[k, 1]
            pairs[place, 3] = whole[k, 0] + (whole[k, 2] if axis == 1 else 0)
            pairs[place, 4] = whole[k, 1] + (whole[k, 2] if axis == 0 else 0)
            pairs[place, 5], pairs[place, 6] = whole[k, 3], whole[k, 4]
            share[place] = shares[k]
        at[axis] += counts[n]
    return rows, columns


@njit(**COMPILE)
def blend(source, target, pairs, shares):  # type: ignore[no-untyped-def]
    """Adds to `target` what the edges move between the pixels of `source`, [B, H, W, C] both."""
    for n in range(len(pairs)):
        b, r, c, s, d = pairs[n, 0], pairs[n, 1], pairs[n, 2], pairs[n, 3], pairs[n, 4]
        amount = np.float32(shares[n] - 0.5)
        row, column = (s, d) if amount > 0 else (r, c)
        for k in range(source.shape[3]):
            target[b, row, column, k] += amount * (source[b, r, c, k] - source[b, s, d, k])


@njit(**COMPILE)
def unblend(  # type: ignore[no-untyped-def]
    source, gradient, pairs, shares, axis, points, rotations, lenses, to_source, to_vertices
):
    """The gradient of `blend`: adds to `to_source`, which starts as the gradient to the target, and `to_vertices`."""
    for n in range(len(pairs)):
        b, r, c, s, d = pairs[n, 0], pairs[n, 1], pairs[n, 2], pairs[n, 3], pairs[n, 4]
        amount = np.float32(shares[n] - 0.5)
        row, column = (s, d) if amount > 0 else (r, c)
        pull = 0.0
        for k in range(source.shape[3]):
            v = gradient[b, row, column, k]
            to_source[b, r, c, k] += amount * v
            to_source[b, s, d, k] -= amount * v
            pull += v * (source[b, r, c, k] - source[b, s, d, k])
        if pull == 0.0:
            continue
        if (d < c) if axis == 0 else (s < r):  # the share grows the other way
            pull = -pull
        i, j = pairs[n, 5], pairs[n, 6]
        p, q = points[b, i], points[b, j]
        line = (r if axis == 0 else c) + 0.5
        across = q[4 - axis] - p[4 - axis]
        reach, slope = (line - p[4 - axis]) / across, (q[3 + axis] - p[3 + axis]) / across
        for end in range(2):
            v, weight = (i, 1.0 - reach) if end == 0 else (j, reach)
            o = points[b, v]
            along, over = pull * weight, -pull * weight * slope
            to_column, to_row = (along, over) if axis == 0 else (over, along)
            gx, gy = to_column * lenses[b, 0] / o[2], to_row * lenses[b, 1] / o[2]
            gz = -(gx * o[0] + gy * o[1]) / o[2]
            for k in range(3):
                to_vertices[v, k] += gx * rotations[b, k, 0] - gy * rotations[b, k, 1] - gz * rotations[b, k, 2]
