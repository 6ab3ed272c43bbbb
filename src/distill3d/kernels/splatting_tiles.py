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

SEGMENTS = 8


class TileLists(NamedTuple):
    """Lists of B x rows x columns tiles.

    starts [T + 1] int64; gaussians, slots [starts[T]] int32, the list of tile t is starts[t]:starts[t + 1];
    first_slot [B * N + 1] int64. jobs [T] int32 are the tiles in an order of which each of `shares` [threads + 1]
    has about as much work as the others.
    """

    starts: np.ndarray
    gaussians: np.ndarray
    slots: np.ndarray
    first_slot: np.ndarray
    jobs: np.ndarray
    shares: np.ndarray


def list_tiles(records: np.ndarray, batch: int, height: int, width: int, tile: int) -> TileLists:
    """The lists of tiles of `tile` x `tile` pixels for `records` [B * N, RECORD]."""
    rows, columns = -(-height // tile), -(-width // tile)
    boxes, first_slot = _boxes(records, tile, rows, columns)
    order, seen = _sort_by_depth(records, batch, 11 if len(records) > 4000 * batch else 8)
    starts, gaussians, slots, work = _scatter(boxes, first_slot, order, seen, rows * columns, columns)
    # numpy's sort and not numba's: compiling one takes five seconds
    jobs, shares = _deal(work, np.argsort(-work, kind="stable"), numba.get_num_threads())
    return TileLists(starts, gaussians, slots, first_slot, jobs, shares)


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
def _sort_by_depth(records: np.ndarray, batch: int, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """For each camera its seen Gaussians, nearest first, at the head of order [B, N] int32; their number [B] int64.

    A least-significant-digit radix sort of the depths' bits, which order like the (positive) depths themselves.
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
        seen = 0
        for i in range(n * s // SEGMENTS, n * (s + 1) // SEGMENTS):
            if records[b * n + i, 10] > 0:
                seen += 1
                low[b, s] = min(low[b, s], depth_bits[b * n + i, 9])
                high[b, s] = max(high[b, s], depth_bits[b * n + i, 9])
        counts[b, s] = seen
    seen_all, least, span = np.zeros(batch, np.int64), np.empty(batch, np.uint32), np.uint32(0)
    first = np.zeros((batch, SEGMENTS), np.int64)
    for b in range(batch):
        least[b], most = low[b, 0], high[b, 0]
        for s in range(SEGMENTS):
            first[b, s] = seen_all[b]
            seen_all[b] += counts[b, s]
            least[b], most = min(least[b], low[b, s]), max(most, high[b, s])
        if seen_all[b] > 0:
            span = max(span, np.uint32(most - least[b]))
    for job in numba.prange(batch * SEGMENTS):
        b, s = job // SEGMENTS, job % SEGMENTS
        at = first[b, s]
        for i in range(n * s // SEGMENTS, n * (s + 1) // SEGMENTS):
            if records[b * n + i, 10] > 0:
                order[b, at] = i
                keys[b, at] = depth_bits[b * n + i, 9] - least[b]
                at += 1
    digits = 1 << bits
    shift = 0
    while shift < 32 and (span >> np.uint32(shift)) > 0:
        places = np.zeros((batch, SEGMENTS, digits), np.int32)
        for job in numba.prange(batch * SEGMENTS):
            b, s = job // SEGMENTS, job % SEGMENTS
            for j in range(seen_all[b] * s // SEGMENTS, seen_all[b] * (s + 1) // SEGMENTS):
                places[b, s, (keys[b, j] >> np.uint32(shift)) & np.uint32(digits - 1)] += 1
        for b in range(batch):
            at = 0
            for d in range(digits):
                for s in range(SEGMENTS):
                    here = places[b, s, d]
                    places[b, s, d] = at
                    at += here
        for job in numba.prange(batch * SEGMENTS):
            b, s = job // SEGMENTS, job % SEGMENTS
            for j in range(seen_all[b] * s // SEGMENTS, seen_all[b] * (s + 1) // SEGMENTS):
                d = (keys[b, j] >> np.uint32(shift)) & np.uint32(digits - 1)
                at = places[b, s, d]
                places[b, s, d] = at + 1
                other[b, at], other_keys[b, at] = order[b, j], keys[b, j]
        order, other = other, order
        keys, other_keys = other_keys, keys
        shift += bits
    return order, seen_all


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


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _deal(work: np.ndarray, order: np.ndarray, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest job first (`order`), each to the thread that has least so far: numba splits loops into equal
    stretches."""
    load, shares = np.zeros(threads, np.int64), np.zeros(threads + 1, np.int64)
    thread = np.empty(len(order), np.int64)
    for k in range(len(order)):
        least = 0
        for t in range(1, threads):
            if load[t] < load[least]:
                least = t
        thread[k] = least
        load[least] += work[order[k]]
        shares[least + 1] += 1
    for t in range(threads):
        shares[t + 1] += shares[t]
    jobs, at = np.empty(len(order), np.int32), shares.copy()
    for k in range(len(order)):
        jobs[at[thread[k]]] = order[k]
        at[thread[k]] += 1
    return jobs, shares
