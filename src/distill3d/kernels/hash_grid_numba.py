"""The loops of the hash grid on a CPU: forward, gradient to the table, gradient to the positions.

One level after another, so that its table stays in cache. Points come in blocks of 64, in two phases: first the rows
and weights of all corners, eight points at a time in vector registers; then nothing but loads of two features a corner.

A level of F features is F / 2 *pairs*; everything between the phases is ordered by pair, `[pairs, N, 2]`, so that one
pair reads and writes one stretch of memory. Every sum has one order whatever the number of threads: in the forward and
in the gradient to positions a point belongs to one thread, in the gradient to the table a pair does.

Arrays that the functions share:
    points: [3, padded] float32, N points in 0..1 by coordinate, padded with zeros to whole blocks.
    table: flat [rows * F] float32.
    levels: [L, 6] int64: resolution, first row, number of rows, then the row of vertex (x, y, z) in that level:
        x + step_y y + step_z z where the mask is 0, else (x xor step_y y xor step_z z) and mask.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from distill3d.kernels.simd import (
    dot_f2,
    float_i8,
    floor_at_f8,
    fma_f2,
    load_f2,
    load_f8,
    minimum_i8,
    splat_f2,
    splat_f8,
    splat_i8,
    store_f2,
    store_f8,
    store_i8,
    truncate_f8,
)

# Blocks are of 64 points: their rows and weights take 4 KiB, well inside the first-level cache.
COMPILE: dict[str, Any] = {"cache": True, "error_model": "numpy", "nogil": True}


@njit(**COMPILE)
def locate(points, start, level, features, rows, weights, fractions):  # type: ignore[no-untyped-def]
    """Row (times features) and trilinear weight of the corners of a block's cells, [8 * 64], corner-major (x fastest),
    and the place inside the cell, [3 * 64]."""
    padded = points.shape[1]
    flat = points.reshape(-1)
    resolution, last_cell = splat_f8(np.float32(level[0])), splat_i8(np.int32(level[0] - 1))
    step_y, step_z = splat_i8(np.int32(np.uint32(level[3]))), splat_i8(np.int32(np.uint32(level[4])))
    mask, step_x, width = splat_i8(np.int32(level[5])), splat_i8(np.int32(1)), splat_i8(np.int32(features))
    one, zero = splat_f8(np.float32(1)), splat_f8(np.float32(0))
    hashed = level[5] != 0
    for lane in range(0, 64, 8):
        x = load_f8(flat, start + lane) * resolution
        y = load_f8(flat, start + lane + padded) * resolution
        z = load_f8(flat, start + lane + 2 * padded) * resolution
        # NaN falls into cell 0, so that no row is out of range, and keeps weights of NaN
        cell_x = minimum_i8(truncate_f8(floor_at_f8(x, zero)), last_cell)
        cell_y = minimum_i8(truncate_f8(floor_at_f8(y, zero)), last_cell)
        cell_z = minimum_i8(truncate_f8(floor_at_f8(z, zero)), last_cell)
        x1, y1, z1 = x - float_i8(cell_x), y - float_i8(cell_y), z - float_i8(cell_z)
        x0, y0, z0 = one - x1, one - y1, one - z1
        store_f8(fractions, lane, x1)
        store_f8(fractions, lane + 64, y1)
        store_f8(fractions, lane + 128, z1)
        row_y, row_z = cell_y * step_y, cell_z * step_z
        for k in range(4):
            far_y, far_z = k & 1, k >> 1
            ry = row_y + step_y if far_y else row_y
            rz = row_z + step_z if far_z else row_z
            weight = (y1 if far_y else y0) * (z1 if far_z else z0)
            at = 128 * k + lane
            if hashed:
                store_i8(rows, at, ((cell_x ^ ry ^ rz) & mask) * width)
                store_i8(rows, at + 64, (((cell_x + step_x) ^ ry ^ rz) & mask) * width)
            else:
                store_i8(rows, at, (cell_x + ry + rz) * width)
                store_i8(rows, at + 64, (cell_x + step_x + ry + rz) * width)
            store_f8(weights, at, x0 * weight)
            store_f8(weights, at + 64, x1 * weight)


@njit(**COMPILE)
def gather(table, rows, weights, count, out, at):  # type: ignore[no-untyped-def]
    for p in range(count):
        near = splat_f2(weights[p]) * load_f2(table, rows[p])
        far = splat_f2(weights[64 + p]) * load_f2(table, rows[64 + p])
        for k in range(1, 4):
            near = fma_f2(splat_f2(weights[128 * k + p]), load_f2(table, rows[128 * k + p]), near)
            far = fma_f2(splat_f2(weights[128 * k + 64 + p]), load_f2(table, rows[128 * k + 64 + p]), far)
        store_f2(out, at + 2 * p, near + far)


@njit(**COMPILE)
def scatter(table, rows, weights, count, gradient, at):  # type: ignore[no-untyped-def]
    for p in range(count):
        g = load_f2(gradient, at + 2 * p)
        for k in range(8):
            row = rows[64 * k + p]
            store_f2(table, row, fma_f2(splat_f2(weights[64 * k + p]), g, load_f2(table, row)))


@njit(**COMPILE)
def add_slopes(dots, fractions, resolution, sums, start, padded):  # type: ignore[no-untyped-def]
    """Adds the derivative of the trilinear interpolation of `dots` [8 * 64] to `sums`, flat [3 * padded]."""
    one, scale = splat_f8(np.float32(1)), splat_f8(np.float32(resolution))
    for lane in range(0, 64, 8):
        x1, y1, z1 = load_f8(fractions, lane), load_f8(fractions, lane + 64), load_f8(fractions, lane + 128)
        x0, y0, z0 = one - x1, one - y1, one - z1
        d000, d100, d010, d110 = (
            load_f8(dots, lane),
            load_f8(dots, lane + 64),
            load_f8(dots, lane + 128),
            load_f8(dots, lane + 192),
        )
        d001, d101, d011, d111 = (
            load_f8(dots, lane + 256),
            load_f8(dots, lane + 320),
            load_f8(dots, lane + 384),
            load_f8(dots, lane + 448),
        )
        by_x = ((d100 - d000) * y0 + (d110 - d010) * y1) * z0 + ((d101 - d001) * y0 + (d111 - d011) * y1) * z1
        d00, d10 = d000 * x0 + d100 * x1, d010 * x0 + d110 * x1
        d01, d11 = d001 * x0 + d101 * x1, d011 * x0 + d111 * x1
        by_y = (d10 - d00) * z0 + (d11 - d01) * z1
        by_z = (d01 - d00) * y0 + (d11 - d10) * y1
        to = start + lane
        store_f8(sums, to, load_f8(sums, to) + by_x * scale)
        store_f8(sums, to + padded, load_f8(sums, to + padded) + by_y * scale)
        store_f8(sums, to + 2 * padded, load_f8(sums, to + 2 * padded) + by_z * scale)


@njit(parallel=True, **COMPILE)
def by_coordinate(positions):  # type: ignore[no-untyped-def]
    """[N, 3] as the `points` above: clamped to the unit cube; NaN stays."""
    count, zero, one = len(positions), np.float32(0), np.float32(1)
    blocks = -(-count // 64)
    points = np.zeros((3, blocks * 64), np.float32)
    for block in prange(blocks):
        for axis in range(3):
            for p in range(block * 64, min(block * 64 + 64, count)):
                x = positions[p, axis]
                x = zero if x < zero else x
                points[axis, p] = one if x > one else x
    return points


@njit(parallel=True, **COMPILE)
def encode(points, table, levels, features, count, threads):  # type: ignore[no-untyped-def]
    """Features by pair, [pairs, N, 2]."""
    by_pair = np.empty((len(levels) * (features // 2), count, 2), np.float32)
    flat = by_pair.reshape(-1)
    share = -(-count // (64 * threads)) * 64
    for thread in prange(threads):
        rows, weights, fractions = np.empty(512, np.uint32), np.empty(512, np.float32), np.empty(192, np.float32)
        stop = min((thread + 1) * share, count)
        for level in range(len(levels)):
            for start in range(thread * share, stop, 64):
                locate(points, start, levels[level], features, rows, weights, fractions)
                for pair in range(features // 2):
                    part = table[levels[level, 1] * features + 2 * pair :]
                    at = 2 * ((level * (features // 2) + pair) * count + start)
                    gather(part, rows, weights, min(64, stop - start), flat, at)
    return by_pair


@njit(parallel=True, **COMPILE)
def pairs_to_points(by_pair, out):  # type: ignore[no-untyped-def]
    """[pairs, N, 2] into `out` [N, width]; columns that no pair fills become zero."""
    pairs, count, _ = by_pair.shape
    width = out.shape[1]
    flat, flat_out = by_pair.reshape(-1), out.reshape(-1)
    for block in prange(-(-count // 64)):
        for p in range(block * 64, min(block * 64 + 64, count)):
            for pair in range(pairs):
                store_f2(flat_out, p * width + 2 * pair, load_f2(flat, 2 * (pair * count + p)))
            for column in range(2 * pairs, width):
                flat_out[p * width + column] = 0


@njit(parallel=True, **COMPILE)
def points_to_pairs(gradient, pairs):  # type: ignore[no-untyped-def]
    """[N, width] to [pairs, N, 2], of the first columns."""
    count, width = gradient.shape
    by_pair = np.empty((pairs, count, 2), np.float32)
    flat, flat_out = gradient.reshape(-1), by_pair.reshape(-1)
    for block in prange(-(-count // 64)):
        for p in range(block * 64, min(block * 64 + 64, count)):
            for pair in range(pairs):
                store_f2(flat_out, 2 * (pair * count + p), load_f2(flat, p * width + 2 * pair))
    return by_pair


@njit(parallel=True, **COMPILE)
def differentiate_table(points, levels, features, by_pair, order, to_table):  # type: ignore[no-untyped-def]
    """Gradient of the rows of `levels` into `to_table`, flat; threads take contiguous shares of `order`, the pairs."""
    count = by_pair.shape[1]
    flat = by_pair.reshape(-1)
    for i in prange(len(order)):
        rows, weights, fractions = np.empty(512, np.uint32), np.empty(512, np.float32), np.empty(192, np.float32)
        level, pair = order[i] // (features // 2), order[i] % (features // 2)
        first, length = levels[level, 1] * features, levels[level, 2] * features
        part = to_table[first + 2 * pair : first + length]
        for row in range(0, length, features):  # just before its use, so that it is in cache
            store_f2(part, row, splat_f2(np.float32(0)))
        for start in range(0, count, 64):
            locate(points, start, levels[level], features, rows, weights, fractions)
            scatter(part, rows, weights, min(64, count - start), flat, 2 * (order[i] * count + start))


@njit(parallel=True, **COMPILE)
def differentiate_positions(points, table, levels, features, by_pair, threads):  # type: ignore[no-untyped-def]
    """Gradient of the points, [3, padded]."""
    count, padded = by_pair.shape[1], points.shape[1]
    share = -(-count // (64 * threads)) * 64
    sums = np.zeros((3, padded), np.float32)
    flat_sums, flat = sums.reshape(-1), by_pair.reshape(-1)
    for thread in prange(threads):
        rows, weights, fractions = np.empty(512, np.uint32), np.empty(512, np.float32), np.empty(192, np.float32)
        dots = np.zeros(512, np.float32)
        stop = min((thread + 1) * share, count)
        for level in range(len(levels)):
            for start in range(thread * share, stop, 64):
                locate(points, start, levels[level], features, rows, weights, fractions)
                for pair in range(features // 2):
                    part = table[levels[level, 1] * features + 2 * pair :]
                    at = 2 * ((level * (features // 2) + pair) * count + start)
                    for p in range(min(64, stop - start)):
                        g = load_f2(flat, at + 2 * p)
                        for k in range(8):
                            dot = dot_f2(g, load_f2(part, rows[64 * k + p]))
                            dots[64 * k + p] = dot if pair == 0 else dots[64 * k + p] + dot
                add_slopes(dots, fractions, levels[level, 0], flat_sums, start, padded)
    return sums
