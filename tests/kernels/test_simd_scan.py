"""Prefix sums and parts of vectors, against numpy; nothing outside the part is touched."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from distill3d.kernels.simd import splat_f8
from distill3d.kernels.simd_scan import (
    clear,
    first_lanes_f8,
    lane_f8,
    leading_i8,
    load_first_f8,
    load_triples_first_f8,
    scan_f8,
    shift_in_f8,
    store_first_f8,
    store_triples_first_f8,
)
from distill3d.kernels.splatting_simd import less_f8

COUNTS = [-3, 0, 1, 3, 5, 7, 8, 12]


@numba.njit
def _copy_first(source: np.ndarray, out: np.ndarray, count: int) -> None:
    store_first_f8(out, 1, 8, load_first_f8(source, 1, count))
    store_first_f8(out, 10, count, load_first_f8(source, 1, 8))


@numba.njit
def _copy_triples(source: np.ndarray, out: np.ndarray, read: int, written: int) -> None:
    x, y, z = load_triples_first_f8(source, 2, read)
    store_triples_first_f8(out, 1, written, z, x, y)


@numba.njit
def _scan(source: np.ndarray, out: np.ndarray, count: int, threshold: float) -> tuple:
    inside = scan_f8(load_first_f8(source, 0, 8))
    store_first_f8(out, 0, 8, inside)
    store_first_f8(out, 8, 8, shift_in_f8(inside, inside))
    store_first_f8(out, 16, 8, first_lanes_f8(inside, count))
    return lane_f8(inside, 5), leading_i8(less_f8(inside, splat_f8(np.float32(threshold))))


@numba.njit
def _clear(out: np.ndarray, start: int, end: int) -> None:
    clear(out, start, end)


def numbers(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 9, count).astype(np.float32)  # whole: their sums are exact


@pytest.mark.parametrize("count", COUNTS)
def test_only_the_first_are_read_and_written(count: int) -> None:
    source, out = numbers(9), np.full(20, -1, np.float32)
    held = min(max(count, 0), 8)
    source[1 + held :] = np.nan if held < 8 else source[1 + held :]
    _copy_first(source, out, count)
    np.testing.assert_array_equal(out[1:9], np.concatenate([source[1 : 1 + held], np.zeros(8 - held)]))
    np.testing.assert_array_equal(out[10 : 10 + held], source[1 : 1 + held])
    assert (out[[0, 9]] == -1).all()
    assert (out[10 + held :] == -1).all()


@pytest.mark.parametrize("read", COUNTS)
@pytest.mark.parametrize("written", COUNTS)
def test_triples(read: int, written: int) -> None:
    source, out = numbers(26), np.full(26, -1, np.float32)
    expected = source[2:26].reshape(8, 3)[:, [2, 0, 1]].copy()
    expected[max(read, 0) :] = 0
    _copy_triples(source, out, read, written)
    held = min(max(written, 0), 8)
    np.testing.assert_array_equal(out[1 : 1 + 3 * held].reshape(-1, 3), expected[:held])
    assert out[0] == -1
    assert (out[1 + 3 * held :] == -1).all()


@pytest.mark.parametrize("count", COUNTS)
def test_prefix_sums(count: int) -> None:
    source, out = numbers(8), np.zeros(24, np.float32)
    sums = source.cumsum()
    lane, leading = _scan(source, out, count, float(sums[3]))
    np.testing.assert_array_equal(out[:8], sums)
    np.testing.assert_array_equal(out[8:16], [sums[7], *sums[:7]])
    np.testing.assert_array_equal(out[16:], np.where(np.arange(8) < count, sums, 0))
    assert (lane, leading) == (sums[5], 3)
    assert _scan(source, out, count, 1e9)[1] == 8


def test_nan_does_not_reach_the_lanes_before() -> None:
    source, out = numbers(8), np.zeros(24, np.float32)
    source[3] = np.nan
    _scan(source, out, 8, 0.0)
    assert np.isnan(out[:8]).tolist() == [False] * 3 + [True] * 5


def test_clear_stays_in_its_place() -> None:
    out = np.ones(12, np.float32)
    _clear(out, 3, 9)
    assert out.tolist() == [1] * 3 + [0] * 6 + [1] * 3
    _clear(out, 0, 0)
    assert out[0] == 1
