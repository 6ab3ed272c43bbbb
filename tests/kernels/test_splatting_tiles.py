"""Lists of tiles: the order of depth, whole lists, and that nothing depends on who takes which job."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from distill3d.kernels.queue import take
from distill3d.kernels.splatting_compositing import TILE, composite_tiles, composite_tiles_backward
from distill3d.kernels.splatting_projection import MOMENTS, RECORD
from distill3d.kernels.splatting_tiles import SEGMENTS, _sort_by_depth, list_tiles


def records(count: int, batch: int = 1, size: int = 96, seed: int = 0) -> np.ndarray:
    """Round Gaussians all over a picture, crowded in its left upper corner, one in eight unseen."""
    rng = np.random.default_rng(seed)
    out = np.zeros((batch * count, RECORD), np.float32)
    out[:, 0:2] = size * rng.random((len(out), 2)) ** 2
    out[:, 2] = out[:, 4] = -rng.uniform(0.02, 0.2, len(out))
    out[:, 5] = -rng.uniform(0.2, 3, len(out))
    out[:, 6:9] = rng.random((len(out), 3))
    out[:, 9] = rng.uniform(2, 4, len(out))
    reach = np.sqrt((np.log2(255.0) + out[:, 5]) / -out[:, 2]) * (rng.random(len(out)) > 0.125)
    out[:, 10] = out[:, 11] = reach
    return out


def far(depths: np.ndarray) -> None:
    depths[len(depths) // 2] = 1e7  # all others fall into one bucket


def ties(depths: np.ndarray) -> None:
    depths[:] = np.round(depths, 1)


def one_depth(depths: np.ndarray) -> None:
    depths[:] = 3.0


def as_they_are(depths: np.ndarray) -> None:
    pass


@pytest.mark.parametrize("change", [as_they_are, far, ties, one_depth])
@pytest.mark.parametrize("count", [8, 3000])
def test_depths_are_sorted_and_ties_keep_their_order(change, count):
    seen_by = records(count, batch=2)
    change(seen_by[:, 9])
    for threads in (1, 3):
        order, seen = _sort_by_depth(seen_by, 2, threads)
        for b in range(2):
            camera = seen_by[b * count : (b + 1) * count]
            visible = np.flatnonzero(camera[:, 10] > 0)
            expected = visible[np.argsort(camera[visible, 9], kind="stable")]
            assert seen[b] == len(expected)
            np.testing.assert_array_equal(order[b, : seen[b]], expected)
            assert change is one_depth or not np.array_equal(expected, visible)  # there was something to sort


def test_nothing_seen_makes_empty_lists():
    nothing = records(50)
    nothing[:, 10:12] = 0
    lists = list_tiles(nothing, 1, 96, 96, TILE)
    assert lists.starts[-1] == 0
    assert len(lists.gaussians) == 0


def test_slots_count_a_gaussians_tiles_over_the_seams_of_the_segments():
    some = records(40 * SEGMENTS + 3)
    lists = list_tiles(some, 1, 96, 96, TILE)
    assert sorted(lists.slots) == list(range(lists.starts[-1]))
    owner = np.searchsorted(lists.first_slot, lists.slots, side="right") - 1
    np.testing.assert_array_equal(owner, lists.gaussians)
    tiles = np.bincount(lists.gaussians, minlength=len(some))
    assert (tiles[some[:, 10] == 0] == 0).all()
    assert (tiles[some[:, 10] > 0] > 0).all()


def test_pictures_and_gradients_do_not_depend_on_who_takes_which_tile():
    some = records(2000)
    lists = list_tiles(some, 1, 96, 96, TILE)
    upstream = np.random.default_rng(1).standard_normal((1, 96, 96, 5)).astype(np.float32)
    results = []
    for jobs, threads in ((lists.jobs, 1), (lists.jobs[::-1].copy(), 1), (lists.jobs, 5), (lists.jobs[:-1].copy(), 1)):
        rgb, alpha, depth = (np.zeros(s, np.float32) for s in ((1, 96, 96, 3), (1, 96, 96), (1, 96, 96)))
        moments = np.zeros((len(lists.slots), MOMENTS), np.float32)
        common = (some.reshape(-1), lists.starts, lists.gaussians)
        composite_tiles(*common, jobs, threads, TILE, rgb, alpha, depth)
        v = [np.ascontiguousarray(a) for a in (upstream[..., :3], upstream[..., 3], upstream[..., 4])]
        composite_tiles_backward(
            *common, lists.slots, jobs, threads, TILE, rgb, alpha, depth, *v, True, moments
        )  # fmt: skip
        results.append((rgb, alpha, depth, moments))
    for other in results[1:3]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))
    assert not np.array_equal(results[0][1], results[3][1])  # a tile that nobody takes is missed


@numba.njit(parallel=True)
def _takers(threads: int, jobs: int) -> np.ndarray:
    taken, times = np.zeros(1, np.int64), np.zeros(jobs, np.int64)
    for _ in numba.prange(threads):
        job = take(taken)
        while job < jobs:
            times[job] += 1
            job = take(taken)
    return times


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_every_job_of_a_queue_is_taken_once(threads):
    assert (_takers(threads, 100_000) == 1).all()
    assert (_takers(0, 10) == 0).all()  # nobody there, nothing taken
