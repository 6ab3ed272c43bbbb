"""Compositing of projected Gaussians, front to back, tile by tile, forward and backward.

A tile takes its Gaussians one after another and, of each, only the pixels inside the ellipse where its alpha reaches
1/255: rows from its box, and in each row the pixels between the two roots of the quadratic, eight at a time. The state
of a tile stays in the first-level cache. `light` is what still passes a pixel; its sign says that the pixel is finished
(3DGS stops before the Gaussian that would leave less than 1e-4).

The backward pass goes front to back as well and takes the same decisions, since it repeats the same arithmetic. With
v_k the product of upstream gradient and what Gaussian k adds for a unit of weight, d / d log(alpha_k) is
w_k v_k - alpha_k / (1 - alpha_k) rest_k, where rest_k, the contribution of all behind k, is the picture's total minus
the prefix: one number of state a pixel. What a Gaussian collects in one tile are MOMENTS: sums over pixels of that
derivative times 1, dx, dy, dx^2, dx dy, dy^2, and of the weight times the upstream colour and depth gradient. They go
to the slot of the pair, one writer each.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numba import float32 as f32

from distill3d.kernels.queue import take
from distill3d.kernels.simd import fma_f8, load_f8, splat_f8, splat_i8, store_f8
from distill3d.kernels.splatting_projection import MOMENTS, RECORD
from distill3d.kernels.splatting_simd import (
    at_least_f8,
    bits_of_f8,
    ceiling_at_f8,
    constant,
    exp2_f8,
    float_of_bits_i8,
    lanes_f8,
    less_f8,
    prefetch,
    select_f8,
    sums_f8,
)
from distill3d.kernels.splatting_torch import FULLEST, STOP
from distill3d.kernels.splatting_window import FAINTEST_LOG2, eights_of, ellipse_spans, fresh_tile, shrink_to_unfinished

TILE = 32  # pixels along a side; a multiple of 8
LOOK = 32  # list entries after which a tile looks for finished rows
PAD = 16  # floats between planes of state: 4096 bytes apart, a store would seem to hit the next load of another plane
LN2 = math.log(2.0)
FULLEST_LOG2, STOP_ = math.log2(FULLEST), STOP


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _tile_forward(
    records: np.ndarray,
    gaussians: np.ndarray,
    begin: int,
    end: int,
    left: int,
    top: int,
    rows: int,
    columns: int,
    tile: int,
    state: np.ndarray,
    index: np.ndarray,
) -> None:
    """`state` [5 * (tile * tile + PAD)]: light, red, green, blue, depth. `index` [4, tile + 8]: room for the spans."""
    plane = tile * tile + PAD
    state[plane:] = f32(0.0)
    first, last, from_, to = index[0], index[1], index[2], index[3]
    fresh_tile(state, first, last, rows, columns, tile)
    window = np.empty(2, np.int64)
    window[0], window[1] = 0, rows
    for entry in range(begin, end):
        if (entry - begin) % LOOK == LOOK - 1:
            shrink_to_unfinished(state, first, last, tile, window)
            if window[0] >= window[1]:
                break
        prefetch(records, np.int64(gaussians[min(entry + 4, end - 1)]) * RECORD)
        base = np.int64(gaussians[entry]) * RECORD
        y, high = records[base + 1] - f32(top), records[base + 11]
        row_first = max(int(np.ceil(max(y - high - f32(0.5), f32(-1.0)))), window[0])
        row_last = min(int(np.floor(min(y + high - f32(0.5), f32(tile)))) + 1, window[1])
        a, b, c, l = records[base + 2], records[base + 3], records[base + 4], records[base + 5]
        a_, red, green = splat_f8(a), splat_f8(records[base + 6]), splat_f8(records[base + 7])
        blue, depth = splat_f8(records[base + 8]), splat_f8(records[base + 9])
        x_ = lanes_f8() + splat_f8(f32(left) + f32(0.5) - records[base])
        for group in range(row_first, row_last, 8):
            dy = f32(group) + f32(0.5) - y
            ellipse_spans(records, base, left, group, dy, columns, from_, to)
            for row in range(group, min(group + 8, row_last)):
                lean, level = splat_f8(b * dy), splat_f8(c * dy * dy + l)
                dy += f32(1.0)
                start, count = eights_of(max(from_[row], first[row]), min(to[row], last[row]), tile)
                for column in range(start, start + 8 * count, 8):
                    dx = x_ + splat_f8(f32(column))
                    power = fma_f8(fma_f8(a_, dx, lean), dx, level)
                    at = row * tile + column
                    light = load_f8(state, at)
                    visible = at_least_f8(power, constant(FAINTEST_LOG2))
                    weight = exp2_f8(ceiling_at_f8(power, constant(FULLEST_LOG2))) * light
                    after = light - weight
                    goes = visible & less_f8(constant(STOP_), after)
                    weight = float_of_bits_i8(bits_of_f8(weight) & goes)
                    finished = float_of_bits_i8(bits_of_f8(light) | (visible & splat_i8(numba.int32(-(2**31)))))
                    red_, green_ = load_f8(state, plane + at), load_f8(state, 2 * plane + at)
                    blue_, depth_ = load_f8(state, 3 * plane + at), load_f8(state, 4 * plane + at)
                    store_f8(state, at, select_f8(goes, after, finished))
                    store_f8(state, plane + at, fma_f8(weight, red, red_))
                    store_f8(state, 2 * plane + at, fma_f8(weight, green, green_))
                    store_f8(state, 3 * plane + at, fma_f8(weight, blue, blue_))
                    store_f8(state, 4 * plane + at, fma_f8(weight, depth, depth_))


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def composite_tiles(
    records: np.ndarray,
    starts: np.ndarray,
    gaussians: np.ndarray,
    jobs: np.ndarray,
    threads: int,
    tile: int,
    rgb: np.ndarray,
    alpha: np.ndarray,
    depth: np.ndarray,
) -> None:
    """Fills rgb [B, H, W, 3], alpha [B, H, W] and depth [B, H, W], the sum of weights times depths, by `threads`."""
    _, height, width = alpha.shape
    columns_all = (width + tile - 1) // tile
    tiles = columns_all * ((height + tile - 1) // tile)
    taken = np.zeros(1, np.int64)
    for _ in numba.prange(threads):
        state = np.empty(5 * (tile * tile + PAD), np.float32)
        index = np.zeros((4, tile + 8), np.int32)
        plane = tile * tile + PAD
        next_ = take(taken)
        while next_ < len(jobs):
            job = np.int64(jobs[next_])
            picture, t = job // tiles, job % tiles
            top, left = t // columns_all * tile, t % columns_all * tile
            rows, columns = min(tile, height - top), min(tile, width - left)
            begin, end = starts[job], starts[job + 1]
            _tile_forward(records, gaussians, begin, end, left, top, rows, columns, tile, state, index)
            for row in range(rows):
                for column in range(columns):
                    at, y, x = row * tile + column, top + row, left + column
                    alpha[picture, y, x] = f32(1.0) - abs(state[at])
                    rgb[picture, y, x, 0] = state[plane + at]
                    rgb[picture, y, x, 1] = state[2 * plane + at]
                    rgb[picture, y, x, 2] = state[3 * plane + at]
                    depth[picture, y, x] = state[4 * plane + at]
            next_ = take(taken)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _tile_backward(
    records: np.ndarray,
    gaussians: np.ndarray,
    slots: np.ndarray,
    begin: int,
    end: int,
    left: int,
    top: int,
    rows: int,
    columns: int,
    tile: int,
    with_depth: bool,
    state: np.ndarray,
    index: np.ndarray,
    moments: np.ndarray,
) -> None:
    """`state` [7 * (tile * tile + PAD)]: light, rest, and the gradients of red, green, blue, alpha and depth."""
    plane = tile * tile + PAD
    first, last, from_, to = index[0], index[1], index[2], index[3]
    fresh_tile(state, first, last, rows, columns, tile)
    window = np.empty(2, np.int64)
    window[0], window[1] = 0, rows
    zero = constant(0.0)
    done = end
    for entry in range(begin, end):
        if (entry - begin) % LOOK == LOOK - 1:
            shrink_to_unfinished(state, first, last, tile, window)
            if window[0] >= window[1]:
                done = entry
                break
        prefetch(records, np.int64(gaussians[min(entry + 4, end - 1)]) * RECORD)
        base = np.int64(gaussians[entry]) * RECORD
        y, high = records[base + 1] - f32(top), records[base + 11]
        row_first = max(int(np.ceil(max(y - high - f32(0.5), f32(-1.0)))), window[0])
        row_last = min(int(np.floor(min(y + high - f32(0.5), f32(tile)))) + 1, window[1])
        a, b, c, l = records[base + 2], records[base + 3], records[base + 4], records[base + 5]
        a_, red, green = splat_f8(a), splat_f8(records[base + 6]), splat_f8(records[base + 7])
        blue, depth = splat_f8(records[base + 8]), splat_f8(records[base + 9])
        x_ = lanes_f8() + splat_f8(f32(left) + f32(0.5) - records[base])
        m0, mx, my, mxx, mxy, myy = zero, zero, zero, zero, zero, zero
        sum_red, sum_green, sum_blue, sum_depth = zero, zero, zero, zero
        for group in range(row_first, row_last, 8):
            dy = f32(group) + f32(0.5) - y
            ellipse_spans(records, base, left, group, dy, columns, from_, to)
            for row in range(group, min(group + 8, row_last)):
                lean, level, dy_ = splat_f8(b * dy), splat_f8(c * dy * dy + l), splat_f8(dy)
                dy += f32(1.0)
                r0, rx = zero, zero
                start, count = eights_of(max(from_[row], first[row]), min(to[row], last[row]), tile)
                for column in range(start, start + 8 * count, 8):
                    at = row * tile + column
                    v_red, v_green = load_f8(state, 2 * plane + at), load_f8(state, 3 * plane + at)
                    v_blue, value = load_f8(state, 4 * plane + at), load_f8(state, 5 * plane + at)
                    if with_depth:  # here and at the end: a branch between masks would cost more than they do
                        value = fma_f8(depth, load_f8(state, 6 * plane + at), value)
                    value = fma_f8(red, v_red, fma_f8(green, v_green, fma_f8(blue, v_blue, value)))
                    dx = x_ + splat_f8(f32(column))
                    power = fma_f8(fma_f8(a_, dx, lean), dx, level)
                    light = load_f8(state, at)
                    visible = at_least_f8(power, constant(FAINTEST_LOG2))
                    alpha = exp2_f8(ceiling_at_f8(power, constant(FULLEST_LOG2)))
                    weight = alpha * light
                    after = light - weight
                    goes = visible & less_f8(constant(STOP_), after)
                    weight = float_of_bits_i8(bits_of_f8(weight) & goes)
                    finished = float_of_bits_i8(bits_of_f8(light) | (visible & splat_i8(numba.int32(-(2**31)))))
                    share = weight * value
                    rest = load_f8(state, plane + at) - share
                    store_f8(state, at, select_f8(goes, after, finished))
                    store_f8(state, plane + at, rest)
                    slope = share - rest * (alpha / (constant(1.0) - alpha))
                    follows = goes & less_f8(power, constant(FULLEST_LOG2))  # at its fullest alpha does not
                    slope = float_of_bits_i8(bits_of_f8(slope) & follows)
                    sum_red = fma_f8(weight, v_red, sum_red)
                    sum_green = fma_f8(weight, v_green, sum_green)
                    sum_blue = fma_f8(weight, v_blue, sum_blue)
                    r0 = r0 + slope
                    slope_x = slope * dx
                    rx = rx + slope_x
                    mxx = fma_f8(slope_x, dx, mxx)
                    if with_depth:
                        sum_depth = fma_f8(weight, load_f8(state, 6 * plane + at), sum_depth)
                m0, mx = m0 + r0, mx + rx
                r0_y = r0 * dy_
                my, myy = my + r0_y, fma_f8(r0_y, dy_, myy)
                mxy = fma_f8(rx, dy_, mxy)
        slot = np.int64(slots[entry]) * MOMENTS
        store_f8(moments, slot, sums_f8(m0, mx, my, mxx, mxy, myy, sum_red, sum_green))
        store_f8(moments, slot + 8, sums_f8(sum_blue, sum_depth, zero, zero, zero, zero, zero, zero))
    for entry in range(done, end):
        slot = np.int64(slots[entry]) * MOMENTS
        store_f8(moments, slot, zero)
        store_f8(moments, slot + 8, zero)


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def composite_tiles_backward(
    records: np.ndarray,
    starts: np.ndarray,
    gaussians: np.ndarray,
    slots: np.ndarray,
    jobs: np.ndarray,
    threads: int,
    tile: int,
    rgb: np.ndarray,
    alpha: np.ndarray,
    depth: np.ndarray,
    v_rgb: np.ndarray,
    v_alpha: np.ndarray,
    v_depth: np.ndarray,
    with_depth: bool,
    moments: np.ndarray,
) -> None:
    """Fills `moments` [slots, MOMENTS] from the pictures and the gradients with respect to them, by `threads`."""
    _, height, width = alpha.shape
    columns_all = (width + tile - 1) // tile
    tiles = columns_all * ((height + tile - 1) // tile)
    taken = np.zeros(1, np.int64)
    for _ in numba.prange(threads):
        state = np.zeros(7 * (tile * tile + PAD), np.float32)
        index = np.zeros((4, tile + 8), np.int32)
        plane = tile * tile + PAD
        next_ = take(taken)
        while next_ < len(jobs):
            job = np.int64(jobs[next_])
            picture, t = job // tiles, job % tiles
            top, left = t // columns_all * tile, t % columns_all * tile
            rows, columns = min(tile, height - top), min(tile, width - left)
            for row in range(rows):
                for column in range(columns):
                    at, y, x = row * tile + column, top + row, left + column
                    total = v_alpha[picture, y, x] * alpha[picture, y, x]
                    for k in range(3):
                        state[(2 + k) * plane + at] = v_rgb[picture, y, x, k]
                        total += v_rgb[picture, y, x, k] * rgb[picture, y, x, k]
                    state[5 * plane + at] = v_alpha[picture, y, x]
                    if with_depth:
                        state[6 * plane + at] = v_depth[picture, y, x]
                        total += v_depth[picture, y, x] * depth[picture, y, x]
                    state[plane + at] = total
            begin, end = starts[job], starts[job + 1]
            _tile_backward(
                records,
                gaussians,
                slots,
                begin,
                end,
                left,
                top,
                rows,
                columns,
                tile,
                with_depth,
                state,
                index,
                moments,
            )
            next_ = take(taken)
