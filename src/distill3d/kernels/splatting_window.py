"""Which pixels of a tile are still looked at: those that a Gaussian's ellipse meets and that are not finished."""

from __future__ import annotations

import math

import numba
import numpy as np
from numba import float32 as f32

from distill3d.kernels.simd import floor_at_f8, fma_f8, load_f8, splat_f8, store_i8, truncate_f8
from distill3d.kernels.splatting_simd import any_i8, ceiling_at_f8, constant, lanes_f8, less_f8, sqrt_f8
from distill3d.kernels.splatting_torch import FAINTEST

FAINTEST_LOG2 = math.log2(FAINTEST)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def shrink_to_unfinished(light: np.ndarray, first: np.ndarray, last: np.ndarray, tile: int, window: np.ndarray) -> None:
    """Draws the pixels first[r]:last[r] of each row, eight at a time, and the rows window[0]:window[1], in over what is
    finished."""
    top, bottom = tile, 0
    for row in range(window[0], window[1]):
        f, t = first[row], last[row]
        while f < t and not any_i8(less_f8(constant(0.0), load_f8(light, row * tile + f))):
            f += 8
        while f < t and not any_i8(less_f8(constant(0.0), load_f8(light, row * tile + t - 8))):
            t -= 8
        first[row], last[row] = f, t
        if f < t:
            top, bottom = min(top, row), row + 1
    window[0], window[1] = top, bottom


@numba.njit(cache=True, nogil=True, error_model="numpy")
def fresh_tile(light: np.ndarray, first: np.ndarray, last: np.ndarray, rows: int, columns: int, tile: int) -> None:
    """A tile before its first Gaussian; pixels outside the picture are finished."""
    light[: tile * tile] = f32(1.0)
    for row in range(rows):
        first[row], last[row] = 0, (columns + 7) // 8 * 8
        for column in range(columns, tile):
            light[row * tile + column] = f32(-1.0)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def ellipse_spans(
    records: np.ndarray, base: int, left: int, row: int, y: float, columns: int, from_: np.ndarray, to: np.ndarray
) -> None:
    """Pixels from_[r]:to[r] of eight rows from `row`, the first `y` from the Gaussian's centre, in its ellipse.

    In a row a dx^2 + (b dy) dx + (c dy^2 + l - log2(1/255)) >= 0 lies between two roots around -b dy / (2 a).
    """
    a, b, c, l = records[base + 2], records[base + 3], records[base + 4], records[base + 5]
    inverse = f32(1.0) / a
    dy = lanes_f8() + splat_f8(f32(y))
    lean = f32(-0.5) * b * inverse
    bend = c * inverse - lean * lean
    half2 = fma_f8(dy * dy, splat_f8(-bend), splat_f8((f32(FAINTEST_LOG2) - l) * inverse))
    half = sqrt_f8(floor_at_f8(half2, constant(0.0))) + constant(0.02)  # a little wide: pixels decide for themselves
    middle = fma_f8(dy, splat_f8(lean), splat_f8(records[base] - f32(left) - f32(0.5)))
    start = floor_at_f8(middle - half + constant(0.99), constant(0.0))
    stop = floor_at_f8(ceiling_at_f8(middle + half, splat_f8(f32(columns - 1))) + constant(1.0), constant(0.0))
    store_i8(from_, row, truncate_f8(ceiling_at_f8(start, splat_f8(f32(columns)))))
    store_i8(to, row, truncate_f8(stop))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def eights_of(start: int, stop: int, tile: int) -> tuple[int, int]:
    """The first pixel, and how many times eight from there cover start:stop of a row without leaving it.

    They begin where the ellipse does and not at a multiple of eight, which a narrow one would often straddle.
    """
    count = (stop - start + 7) >> 3
    return min(start, tile - 8 * count), count
