"""Which Gaussians each tile of a picture sees, front to back.

Every pair of a seen Gaussian and a tile that its box touches has a *slot*: slots are numbered Gaussian after Gaussian,
so that the sum of a Gaussian's gradients over its tiles reads one stretch of memory. One radix sort by depth for each
camera, then a stable counting scatter into the tiles, gives each tile its list in order. The work is cut into SEGMENTS
whatever the number of threads, so the lists are the same on any number.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from distill3d.kernels.queue import take

SEGMENTS = 8
BUCKET_BITS, DIGIT_BITS = 6, 9  # buckets of a thousand of 50,000, counters that fit the first cache beside them
BUCKETS = 1 << BUCKET_BITS


class TileLists(NamedTuple):
    """Lists of B x rows x columns tiles.

    starts [T + 1] int64; gaussians, slots [starts[T]] int32, the list of tile t is starts[t]:starts[t + 1];
    first_slot [B * N + 1] int64. jobs [T] int64 are the tiles, those with most work first, so that threads that take
    one after another end together.
    """

    starts: np.ndarray
    gaussians: np.ndarray
    slots: np.ndarray
    first_slot: np.ndarray
    jobs: np.ndarray


def list_tiles(records: np.ndarray, batch: int, height: int, width: int, tile: int) -> TileLists:
    """The lists of tiles of `tile` x `tile` pixels for `records` [B * N, RECORD]."""
    rows, columns = -(-height // tile), -(-width // tile)
    boxes, first_slot = _boxes(records, tile, rows, columns)
    order, seen = _sort_by_depth(records, batch, numba.get_num_threads())
    starts, gaussians, slots, work = _scatter(boxes, first_slot, order, seen, rows * columns, columns)
    return TileLists(starts, gaussians, slots, first_slot, np.argsort(-work, kind="stable"))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _boxes(records: np.ndarray, tile: int, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """The tiles that each Gaussian's box touches: first and last + 1 column and row, and a measure of the work in one
    of them, [M, 5] int16, small enough to stay in the cache when read in order of depth; and the slots' beginnings."""
    boxes, first = np.zeros((len(records), 5), np.int16), np.empty(len(records) + 1, np.int64)
    shrink, total = np.float32(1.0 / tile), 0
    for i in range(len(records)):
        first[i] = total
        x, y, wide, high = records[i, 0], records[i, 1], records[i, 10], records[i, 11]
        if wide > 0:
            left = int(min(max((x - wide) * shrink, np.float32(0)), np.float32(columns)))
            right = int(min(max((x + wide) * shrink + np.float32(1), np.float32(0)), np.float32(columns)))
            top = int(min(max((y - high) * shrink, np.float32(0)), np.float32(rows)))
            bottom = int(min(max((y + high) * shrink + np.float32(1), np.float32(0)), np.float32(rows)))
            boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3] = left, max(right, left), top, max(bottom, top)
            # a share for the list entry, and one for each row and for each eight pixels of the box
            boxes[i, 4] = int(8 + (2 + min(wide, np.float32(tile // 2)) / 4) * min(high + high, np.float32(tile)))
            total += max(right - left, 0) * max(bottom - top, 0)
    first[len(records)] = total
    return boxes, first


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def _sort_by_depth(records: np.ndarray, batch: int, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """For each camera its seen Gaussians, nearest first, at the head of order [B, N] int32; their number [B] int64.

    A stable radix sort of the depths' bits, which order like the (positive) depths themselves: the highest BUCKET_BITS
    bits first, into buckets small enough for the first cache; then each bucket, on one thread, from its lowest bits up.
    """
    n = len(records) // batch
    depth_bits = records.view(np.uint32)
    order, other = np.empty((batch, n), np.int32), np.empty((batch, n), np.int32)
    keys, other_keys = np.empty((batch, n), np.uint32), np.empty((batch, n), np.uint32)
    counts = np.zeros((batch, SEGMENTS), np.int64)
    low = np.full((batch, SEGMENTS), 0xFFFFFFFF, np.uint32)
    high = np.zeros((batch, SEGMENTS), np.uint32)
    for job in numba.prange(batch * SEGMENTS):
        b, s = job // SEGMENTS, job % SEGMENTS
        begin, at = n * s // SEGMENTS, n * s // SEGMENTS
        least, most = np.uint32(0xFFFFFFFF), np.uint32(0)
        for i in range(begin, n * (s + 1) // SEGMENTS):
            if records[b * n + i, 10] > 0:
                key = depth_bits[b * n + i, 9]
                order[b, at], keys[b, at] = i, key
                least, most = min(least, key), max(most, key)
                at += 1
        counts[b, s], low[b, s], high[b, s] = at - begin, least, most
    seen, least_of, span = np.zeros(batch, np.int64), np.empty(batch, np.uint32), np.uint32(0)
    for b in range(batch):
        seen[b], least_of[b] = counts[b].sum(), low[b].min()
        if seen[b] > 0:
            span = max(span, np.uint32(high[b].max() - least_of[b]))
    below = 0  # bits left for the buckets' own sorts
    while (span >> np.uint32(below)) >= BUCKETS:
        below += 1
    places = np.zeros((batch, SEGMENTS, BUCKETS), np.int64)
    for job in numba.prange(batch * SEGMENTS):
        b, s = job // SEGMENTS, job % SEGMENTS
        for j in range(n * s // SEGMENTS, n * s // SEGMENTS + counts[b, s]):
            places[b, s, (keys[b, j] - least_of[b]) >> np.uint32(below)] += 1
    begins = np.empty((batch, BUCKETS + 1), np.int64)
    for b in range(batch):
        at = 0
        for d in range(BUCKETS):
            begins[b, d] = at
            for s in range(SEGMENTS):
                here = places[b, s, d]
                places[b, s, d] = at
                at += here
        begins[b, BUCKETS] = at
    for job in numba.prange(batch * SEGMENTS):
        b, s = job // SEGMENTS, job % SEGMENTS
        for j in range(n * s // SEGMENTS, n * s // SEGMENTS + counts[b, s]):
            key = keys[b, j] - least_of[b]
            d = key >> np.uint32(below)
            at = places[b, s, d]
            places[b, s, d] = at + 1
            other[b, at], other_keys[b, at] = order[b, j], key
    taken = np.zeros(1, np.int64)
    for _ in numba.prange(threads):
        digits = np.empty(1 << DIGIT_BITS, np.int64)
        job = take(taken)
        while job < batch * BUCKETS:
            b, d = job // BUCKETS, job % BUCKETS
            begin, end = begins[b, d], begins[b, d + 1]
            if begin < end:
                _sort_bucket(other[b], other_keys[b], order[b], keys[b], begin, end, below, digits)
            job = take(taken)
    odd = -(-below // DIGIT_BITS) % 2 == 1
    return (order if odd else other), seen


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _sort_bucket(
    order: np.ndarray,
    keys: np.ndarray,
    other: np.ndarray,
    other_keys: np.ndarray,
    begin: int,
    end: int,
    bits: int,
    digits: np.ndarray,
) -> None:
    """Sorts begin:end by the lowest `bits` bits, to and fro between two arrays, once for every DIGIT_BITS of them."""
    shift = 0
    while shift < bits:
        mask = np.uint32((1 << min(DIGIT_BITS, bits - shift)) - 1)
        digits[: np.int64(mask) + 1] = 0
        for j in range(begin, end):
            digits[(keys[j] >> np.uint32(shift)) & mask] += 1
        at = begin
        for d in range(np.int64(mask) + 1):
            here = digits[d]
            digits[d] = at
            at += here
        for j in range(begin, end):
            d = (keys[j] >> np.uint32(shift)) & mask
            at = digits[d]
            digits[d] = at + 1
            other[at], other_keys[at] = order[j], keys[j]
        order, other = other, order
        keys, other_keys = other_keys, keys
        shift += DIGIT_BITS


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def _scatter(
    boxes: np.ndarray, first_slot: np.ndarray, order: np.ndarray, seen: np.ndarray, tiles: int, columns: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """starts, gaussians and slots of `TileLists`, and the work in each tile, [T]."""
    batch, n = order.shape
    places = np.zeros((batch, SEGMENTS, tiles), np.int64)
    share = np.zeros((batch, SEGMENTS, tiles), np.int64)
    for job in numba.prange(batch * SEGMENTS):
        b, s = job // SEGMENTS, job % SEGMENTS
        for j in range(seen[b] * s // SEGMENTS, seen[b] * (s + 1) // SEGMENTS):
            i = b * n + order[b, j]
            left, right, top, bottom, size = boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3], boxes[i, 4]
            for y in range(top, bottom):
                for x in range(left, right):
                    places[b, s, y * columns + x] += 1
                    share[b, s, y * columns + x] += size
    starts = np.empty(batch * tiles + 1, np.int64)
    work = np.zeros(batch * tiles, np.int64)
    total = 0
    for b in range(batch):
        for t in range(tiles):
            starts[b * tiles + t] = total
            for s in range(SEGMENTS):
                here = places[b, s, t]
                places[b, s, t] = total
                total += here
                work[b * tiles + t] += share[b, s, t]
    starts[batch * tiles] = total
    gaussians, slots = np.empty(total, np.int32), np.empty(total, np.int32)
    for job in numba.prange(batch * SEGMENTS):
        b, s = job // SEGMENTS, job % SEGMENTS
        for j in range(seen[b] * s // SEGMENTS, seen[b] * (s + 1) // SEGMENTS):
            i = b * n + order[b, j]
            left, right, top, bottom = boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3]
            slot = first_slot[i]
            for y in range(top, bottom):
                for x in range(left, right):
                    at = places[b, s, y * columns + x]
                    places[b, s, y * columns + x] = at + 1
                    gaussians[at], slots[at] = i, slot
                    slot += 1
    return starts, gaussians, slots, work
