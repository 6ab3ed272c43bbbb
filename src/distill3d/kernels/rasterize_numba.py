"""The loops of the rasteriser on a CPU: project, sort into bands of rows, fill the z-buffer, resolve what was seen.

The edge functions are those of Olano and Greer (1997), "Triangle scan conversion using 2D homogeneous coordinates":
a triangle with corners p0, p1, p2 in camera space meets the pixel's ray d where all of w0 = d.(p1 x p2),
w1 = d.(p2 x p0), w2 = d.(p0 x p1) have one sign; w / sum(w) are perspective-correct barycentrics and
p0.(p1 x p2) / sum(w) is the depth. Triangles that cross the camera's plane need no clipping.

Swapping the ends of an edge negates its function exactly (IEEE products commute, nothing is fused), and both
neighbours evaluate it at the same x and y in the same order: a pixel on a shared edge is in one of them or in both.

What is filled is the inverse depth, a linear function of the pixel, and the triangle's number; barycentrics wait until
it is known who won. Each (picture, band) belongs to one thread and meets its triangles in the order of the faces.

Arrays that the functions share:
    points: [B, V, 5] float64: x right, y down, z forward in camera space; column and row on the screen (where z > 0).
    lenses: [B, 4] float64: fx, fy, cx, cy, pixels.
    triangle: [B, H, W] int32, -1 where nothing is hit.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, prange
from numba.extending import intrinsic

from distill3d.kernels.simd import F8, I8, _load, load_f8, splat_f8, splat_i8, store_f8, store_i8

COMPILE: dict[str, Any] = {"cache": True, "error_model": "numpy", "nogil": True}


@njit(**COMPILE, parallel=True)
def project(vertices, rotations, positions, lenses, points):  # type: ignore[no-untyped-def]
    """World [V, 3] to `points`; the camera looks along -z in its own frame and its y points up."""
    count = len(vertices)
    chunks = (count + 4095) // 4096
    for job in prange(len(points) * chunks):
        b, first = job // chunks, job % chunks * 4096
        r, c = rotations[b], positions[b]
        fx, fy, cx, cy = lenses[b, 0], lenses[b, 1], lenses[b, 2], lenses[b, 3]
        for v in range(first, min(count, first + 4096)):
            x, y, z = vertices[v, 0] - c[0], vertices[v, 1] - c[1], vertices[v, 2] - c[2]
            right = x * r[0, 0] + y * r[1, 0] + z * r[2, 0]
            down = -(x * r[0, 1] + y * r[1, 1] + z * r[2, 1])
            forward = -(x * r[0, 2] + y * r[1, 2] + z * r[2, 2])
            points[b, v, 0], points[b, v, 1], points[b, v, 2] = right, down, forward
            points[b, v, 3], points[b, v, 4] = fx * right / forward + cx, fy * down / forward + cy


@njit(**COMPILE)
def clamped(value, high):  # type: ignore[no-untyped-def]
    """A number in 0..high, 0 for NaN: what comes from a broken vertex must not leave the picture."""
    value = value if value > 0.0 else 0.0
    return value if value < high else high


@njit(**COMPILE, parallel=True)
def sort_into_bands(points, faces, height, width, band, near, chunk):  # type: ignore[no-untyped-def]
    """Pixel boxes [B, F, 4] (rows, columns; half open), and the faces of each (picture, band) in ascending order:
    `order[starts[k]:starts[k + 1]]` for k = picture * bands + band. Faces whose box is empty are in none."""
    pictures, count = len(points), len(faces)
    bands, chunks = (height + band - 1) // band, (count + chunk - 1) // chunk
    boxes = np.empty((pictures, count, 4), np.int32)
    found = np.zeros((pictures, bands, chunks), np.int64)
    high, wide = float(height), float(width)
    for job in prange(pictures * chunks):
        b, part = job // chunks, job % chunks
        for f in range(part * chunk, min(count, part * chunk + chunk)):
            i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
            in_front = int(points[b, i, 2] > near) + int(points[b, j, 2] > near) + int(points[b, k, 2] > near)
            first, last, left, right = 0, 0, 0, 0
            if in_front == 3:
                x0, x1, x2 = points[b, i, 3], points[b, j, 3], points[b, k, 3]
                y0, y1, y2 = points[b, i, 4], points[b, j, 4], points[b, k, 4]
                # pixel centres c + 0.5 within low..high: c from ceil(low - 0.5) to floor(high - 0.5), both included
                low = clamped(min(min(y0, y1), y2) - 0.5, high)
                first = int(low) + int(low > float(int(low)))
                last = int(clamped(max(max(y0, y1), y2) + 0.5, high))
                low = clamped(min(min(x0, x1), x2) - 0.5, wide)
                left = int(low) + int(low > float(int(low)))
                right = int(clamped(max(max(x0, x1), x2) + 0.5, wide))
            elif in_front > 0:  # the projection wraps around: any pixel may be covered
                last, right = height, width
            if left >= right:
                last = first
            boxes[b, f, 0], boxes[b, f, 1], boxes[b, f, 2], boxes[b, f, 3] = first, last, left, right
            if first < last:
                for line in range(first // band, (last - 1) // band + 1):
                    found[b, line, part] += 1
    starts = np.zeros(pictures * bands + 1, np.int64)
    total, flat = 0, found.reshape(-1)
    for k in range(len(flat)):
        if k % chunks == 0:
            starts[k // chunks] = total
        total, flat[k] = total + flat[k], total
    starts[pictures * bands] = total
    order = np.empty(total, np.int32)
    for job in prange(pictures * chunks):
        b, part = job // chunks, job % chunks
        for f in range(part * chunk, min(count, part * chunk + chunk)):
            first, last = boxes[b, f, 0], boxes[b, f, 1]
            if first < last:
                for line in range(first // band, (last - 1) // band + 1):
                    order[found[b, line, part]] = f
                    found[b, line, part] += 1
    return boxes, starts, order


@njit(**COMPILE)
def edge_functions(p, q, r, edges):  # type: ignore[no-untyped-def]
    """Writes the three normals into `edges` [9] and returns p.(q x r)."""
    edges[0], edges[1], edges[2] = q[1] * r[2] - q[2] * r[1], q[2] * r[0] - q[0] * r[2], q[0] * r[1] - q[1] * r[0]
    edges[3], edges[4], edges[5] = r[1] * p[2] - r[2] * p[1], r[2] * p[0] - r[0] * p[2], r[0] * p[1] - r[1] * p[0]
    edges[6], edges[7], edges[8] = p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]
    return p[0] * edges[0] + p[1] * edges[1] + p[2] * edges[2]


@intrinsic
def wins_f8(typing: Any, w0: Any, w1: Any, w2: Any, closeness: Any, nearest: Any, closest: Any) -> Any:
    """-1 where all w >= 0 and nearest < closeness < closest, else 0."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        zero = ir.Constant(F8.llvm, [0.0] * 8)
        tests = [builder.fcmp_ordered(">=", w, zero) for w in args[:3]]
        tests += [builder.fcmp_ordered(">", args[3], args[4]), builder.fcmp_ordered("<", args[3], args[5])]
        return builder.sext(reduce(builder.and_, tests), I8.llvm)

    return I8(F8, F8, F8, F8, F8, F8), generate


def _choose(vector: Any) -> Any:
    def choose(typing: Any, mask: Any, then: Any, otherwise: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.select(builder.icmp_signed("!=", args[0], ir.Constant(I8.llvm, [0] * 8)), *args[1:])

        return vector(I8, vector, vector), generate

    return intrinsic(choose)


choose_f8, choose_i8 = _choose(F8), _choose(I8)
load_i8 = _load(I8)


@njit(**COMPILE, parallel=True)
def fill(points, faces, lenses, boxes, starts, order, band, near, triangle):  # type: ignore[no-untyped-def]
    """The nearest triangle of every pixel. Of equally near ones the first wins.

    Eight pixels of a row at a time, without branches: most triangles are a few pixels wide, and asking each pixel
    whether it is inside is mispredicted every third time. The set-up is in double; the pixels are in float32, which
    moves an edge by some 1e-7 of its pixel coordinate, on both sides alike.
    """
    pictures, height, width = triangle.shape
    bands, stride = (height + band - 1) // band, width + 8
    closest = splat_f8(np.float32(1.0 / near))
    for job in prange(pictures * bands):
        b, first = job // bands, job % bands * band
        last = min(height, first + band)
        fx, fy, cx, cy = lenses[b, 0], lenses[b, 1], lenses[b, 2], lenses[b, 3]
        xs = ((np.arange(stride) + 0.5 - cx) / fx).astype(np.float32)
        ys = ((np.arange(height) + 0.5 - cy) / fy).astype(np.float32)
        nearest = np.zeros((last - first) * stride, np.float32)  # inverse depth
        seen = np.full((last - first) * stride, -1, np.int32)
        for place in range(starts[job], starts[job + 1]):
            f = order[place]
            i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
            px, py, pz = points[b, i, 0], points[b, i, 1], points[b, i, 2]
            qx, qy, qz = points[b, j, 0], points[b, j, 1], points[b, j, 2]
            rx, ry, rz = points[b, k, 0], points[b, k, 1], points[b, k, 2]
            a0, b0, c0 = qy * rz - qz * ry, qz * rx - qx * rz, qx * ry - qy * rx
            a1, b1, c1 = ry * pz - rz * py, rz * px - rx * pz, rx * py - ry * px
            a2, b2, c2 = py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx
            determinant = px * a0 + py * b0 + pz * c0
            if not 0.0 < abs(determinant) < np.inf:
                continue
            # normal . d / determinant is the inverse depth; differences of corners keep the digits of small triangles
            ux, uy, uz, vx, vy, vz = qx - px, qy - py, qz - pz, rx - px, ry - py, rz - pz
            inverse = 1.0 / determinant
            sx, sy, sz = (uy * vz - uz * vy) * inverse, (uz * vx - ux * vz) * inverse, (ux * vy - uy * vx) * inverse
            if determinant < 0.0:
                a0, b0, c0, a1, b1, c1, a2, b2, c2 = -a0, -b0, -c0, -a1, -b1, -c1, -a2, -b2, -c2
            right0, down0, start0 = splat_f8(np.float32(a0)), splat_f8(np.float32(b0)), splat_f8(np.float32(c0))
            right1, down1, start1 = splat_f8(np.float32(a1)), splat_f8(np.float32(b1)), splat_f8(np.float32(c1))
            right2, down2, start2 = splat_f8(np.float32(a2)), splat_f8(np.float32(b2)), splat_f8(np.float32(c2))
            nearer_right, nearer_down = splat_f8(np.float32(sx)), splat_f8(np.float32(sy))
            nearer, number = splat_f8(np.float32(sz)), splat_i8(np.int32(f))
            left, right = boxes[b, f, 2], boxes[b, f, 3]
            for row in range(max(first, boxes[b, f, 0]), min(last, boxes[b, f, 1])):
                y = splat_f8(ys[row])
                line0, line1, line2 = y * down0 + start0, y * down1 + start1, y * down2 + start2
                depths = y * nearer_down + nearer
                line = (row - first) * stride
                for column in range(left, right, 8):
                    x, at = load_f8(xs, column), line + column
                    closeness, before = x * nearer_right + depths, load_f8(nearest, at)
                    w0, w1, w2 = x * right0 + line0, x * right1 + line1, x * right2 + line2
                    wins = wins_f8(w0, w1, w2, closeness, before, closest)
                    store_f8(nearest, at, choose_f8(wins, closeness, before))
                    store_i8(seen, at, choose_i8(wins, number, load_i8(seen, at)))
        for row in range(first, last):
            for column in range(width):
                triangle[b, row, column] = seen[(row - first) * stride + column]


@njit(**COMPILE, parallel=True)
def resolve(points, faces, lenses, triangle, barycentrics, depth, front):  # type: ignore[no-untyped-def]
    """Barycentrics [B, H, W, 3], distance along the ray [B, H, W] and side [B, H, W] of what was seen."""
    pictures, height, width = triangle.shape
    for job in prange(pictures * height):
        b, row = job // height, job % height
        fx, fy, cx, cy = lenses[b, 0], lenses[b, 1], lenses[b, 2], lenses[b, 3]
        y, e, current, determinant = (row + 0.5 - cy) / fy, np.empty(9), -1, 0.0
        for column in range(width):
            f = triangle[b, row, column]
            if f < 0:
                continue
            if f != current:  # neighbours often see the same triangle
                determinant = edge_functions(points[b, faces[f, 0]], points[b, faces[f, 1]], points[b, faces[f, 2]], e)
                current = f
            x = (column + 0.5 - cx) / fx
            w0, w1, w2 = x * e[0] + (y * e[1] + e[2]), x * e[3] + (y * e[4] + e[5]), x * e[6] + (y * e[7] + e[8])
            inverse = 1.0 / (w0 + w1 + w2)
            barycentrics[b, row, column, 0] = w0 * inverse
            barycentrics[b, row, column, 1] = w1 * inverse
            barycentrics[b, row, column, 2] = w2 * inverse
            depth[b, row, column] = determinant * inverse * np.sqrt(x * x + y * y + 1.0)
            front[b, row, column] = determinant < 0.0
