"""Marching on the CPU: rays side by side, in lanes of float64, first to count their samples and then to write them."""

from __future__ import annotations

import numba
import numpy as np

from distill3d.kernels.simd import minimum_i8, splat_i8, store_f8
from distill3d.kernels.simd_double import (
    ceil_d8,
    double_f8,
    double_i8,
    float_d8,
    gather_i8,
    lanes_d8,
    less_d8,
    load_d8,
    maximum_d8,
    minimum_d8,
    scatter_i8,
    select_d8,
    splat_d8,
    sqrt_d8,
    store_d8,
    store_triples_f8,
    truncate_d8,
)
from distill3d.kernels.simd_scan import load_first_f8, load_triples_first_f8
from distill3d.kernels.splatting_simd import any_i8

BLOCK = 128  # rays that a thread takes at a time


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _cell(p: float, n: int) -> int:
    return min(max(int(p), 0), n - 1)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _ahead(rays: np.ndarray, r: int, k: float, k_end: float, step: float, per_step: float, signed: np.ndarray) -> tuple:
    """The first lattice index > k about which this cell says nothing, and 1 if those before it are occupied, else 0.

    Without branches, which a march would mispredict at every other cell.
    """
    n = signed.shape[0]
    t = (k + rays[r, 9]) * step
    i = _cell(rays[r, 0] + t * rays[r, 3], n)
    j = _cell(rays[r, 1] + t * rays[r, 4], n)
    m = _cell(rays[r, 2] + t * rays[r, 5], n)
    d = np.int64(signed[np.uintp(i), np.uintp(j), np.uintp(m)])  # unsigned: no test for a negative index
    # out of the cells i - |d| + 1 ... i + |d| - 1: half the box's side ahead of the cell's centre
    side = abs(d) - 0.5
    x = (i + 0.5 - rays[r, 0]) * rays[r, 6] + side * abs(rays[r, 6])
    y = (j + 0.5 - rays[r, 1]) * rays[r, 7] + side * abs(rays[r, 7])
    z = (m + 0.5 - rays[r, 2]) * rays[r, 8] + side * abs(rays[r, 8])
    t_exit = x if x < y else y
    t_exit = t_exit if t_exit < z else z
    ahead = np.ceil(t_exit * per_step - rays[r, 9] - 1e-9)
    ahead = ahead if ahead > k + 1.0 else k + 1.0
    return ahead if ahead < k_end else k_end, np.int64(d < 0)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _grid_ray(origins, directions, jitter, row, scale, half, rays, r):  # type: ignore[no-untyped-def]
    """rays[r], as `_ahead` reads it: origin, direction and inverse direction in units of cells, and the jitter."""
    for axis in range(3):
        rays[r, axis] = origins[row, axis] * scale + half
        v = directions[row, axis] * scale
        rays[r, 3 + axis] = v
        rays[r, 6 + axis] = 1.0 / (v if abs(v) > 1e-20 else 1e-20)  # along an axis a ray never leaves the others
    rays[r, 9] = jitter[row] if len(jitter) else 0.5


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _slab(origin, direction, low, high, scale, half, near, far, rays, at):  # type: ignore[no-untyped-def]
    """One axis of `_cross`: what of near ... far is also between low and high, and products for its ball."""
    zero, least = splat_d8(0.0), splat_d8(1e-20)
    o, v = double_f8(origin) * splat_d8(scale) + splat_d8(half), double_f8(direction) * splat_d8(scale)
    inverse = splat_d8(1.0) / select_d8(less_d8(least, maximum_d8(v, zero - v)), v, least)
    store_d8(rays, at, o)
    store_d8(rays, 24 + at, v)
    store_d8(rays, 48 + at, inverse)
    a, b = (splat_d8(low) - o) * inverse, (splat_d8(high) - o) * inverse
    x = o - splat_d8(0.5 * (low + high))
    return maximum_d8(near, minimum_d8(a, b)), minimum_d8(far, maximum_d8(a, b)), x * x, x * v, v * v


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _cross(origins, directions, jitter, r, box, radius, scale, half, per_step, rays):  # type: ignore[no-untyped-def]
    """The rays r ... r + 7, as far as there are so many: `_grid_ray`, and where they cross the box of occupied cells
    and the ball around its centre: many rays through a corner of the one miss the other.

    Args:
        origins, directions: flat; jitter: empty where every ray has 0.5.
        rays [12 * 8]: written, as `_ahead` reads a ray, then the first and last + 1 lattice index inside both.

    Returns:
        whether any crosses: its first index is below its last.
    """
    rest = len(origins) // 3 - r
    ox, oy, oz = load_triples_first_f8(origins, 3 * r, rest)
    dx, dy, dz = load_triples_first_f8(directions, 3 * r, rest)
    place = double_f8(load_first_f8(jitter, r, rest)) if len(jitter) else splat_d8(0.5)
    rate, zero = splat_d8(per_step), splat_d8(0.0)
    near, far = zero, splat_d8(1e30)
    near, far, xx, xv, vv = _slab(ox, dx, box[0, 0], box[1, 0], scale, half, near, far, rays, 0)
    near, far, yy, yv, ww = _slab(oy, dy, box[0, 1], box[1, 1], scale, half, near, far, rays, 8)
    near, far, zz, zv, uu = _slab(oz, dz, box[0, 2], box[1, 2], scale, half, near, far, rays, 16)
    # |x + t v| = radius: t v.v = -x.v +- sqrt((x.v)^2 - v.v (x.x - radius^2)); outside, both are the nearest point
    squared, along = vv + ww + uu, xv + yv + zv
    width = sqrt_d8(maximum_d8(along * along - squared * (xx + yy + zz - splat_d8(radius * radius)), zero))
    once = splat_d8(1.0) / maximum_d8(squared, splat_d8(1e-40))
    near, far = maximum_d8(near, zero - (along + width) * once), minimum_d8(far, (width - along) * once)
    begin, end = maximum_d8(ceil_d8(near * rate - place), zero), ceil_d8(far * rate - place)
    store_d8(rays, 72, place)
    store_d8(rays, 80, begin)
    store_d8(rays, 88, end)
    return any_i8(less_d8(begin, end))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _count(rays, lanes, rows, signed, step, per_step, edges, counts):  # type: ignore[no-untyped-def]
    """Marches eight rays side by side, each until the end of its span: `_ahead` in lanes.

    Args:
        rays [12, B]: as `_ahead` reads them, and the first and last + 1 lattice index of their spans.
        lanes: the first of the eight in `rays`; rows [B] int32: which row of `edges` is whose.
        signed [G^3]. edges [rows, E]: written, the lattice indices where occupied stretches begin and end by turns.
            Where there are more than E - 1, the last stretch goes on to the end of the span, holes included.
        counts [B]: written, the occupied samples.
    """
    n, width = signed.shape[0], edges.shape[1]
    cells, places = signed.reshape(-1), edges.reshape(-1)
    ox, oy, oz = load_d8(rays[0], lanes), load_d8(rays[1], lanes), load_d8(rays[2], lanes)
    dx, dy, dz = load_d8(rays[3], lanes), load_d8(rays[4], lanes), load_d8(rays[5], lanes)
    ix, iy, iz = load_d8(rays[6], lanes), load_d8(rays[7], lanes), load_d8(rays[8], lanes)
    jitter, k, k_end = load_d8(rays[9], lanes), load_d8(rays[10], lanes), load_d8(rays[11], lanes)
    zero, one, half, last = splat_d8(0.0), splat_d8(1.0), splat_d8(0.5), splat_d8(n - 1.0)
    ax, ay, az = maximum_d8(ix, zero - ix), maximum_d8(iy, zero - iy), maximum_d8(iz, zero - iz)
    side, spacing, rate, hair = splat_i8(np.int32(n)), splat_d8(step), splat_d8(per_step), splat_d8(1e-9)
    begin = gather_i8(rows, truncate_d8(splat_d8(np.float64(lanes)) + lanes_d8())) * splat_i8(np.int32(width))
    at, most = splat_i8(np.int32(0)), splat_i8(np.int32(width - 1))
    before, total = splat_i8(np.int32(0)), zero
    active = less_d8(k, k_end)
    while any_i8(active):
        t = (k + jitter) * spacing
        i = truncate_d8(maximum_d8(minimum_d8(ox + t * dx, last), zero))
        j = truncate_d8(maximum_d8(minimum_d8(oy + t * dy, last), zero))
        m = truncate_d8(maximum_d8(minimum_d8(oz + t * dz, last), zero))
        d = double_i8(gather_i8(cells, (i * side + j) * side + m))
        reach = maximum_d8(d, zero - d) - half
        x = (double_i8(i) + half - ox) * ix + reach * ax
        y = (double_i8(j) + half - oy) * iy + reach * ay
        z = (double_i8(m) + half - oz) * iz + reach * az
        ahead = ceil_d8(minimum_d8(minimum_d8(x, y), z) * rate - jitter - hair)
        ahead = minimum_d8(maximum_d8(ahead, k + one), k_end)
        scatter_i8(places, begin + at, truncate_d8(k))
        occupied = less_d8(d, zero)
        changed = (occupied ^ before) & active
        at = minimum_i8(at - changed, most)
        before = before ^ changed
        total = total - (ahead - k) * double_i8(occupied)  # the mask is -1; a lane that is done moves no more
        k = ahead
        active = less_d8(k, k_end)
    scatter_i8(places, begin + at, truncate_d8(k_end))
    store_d8(counts, lanes, total)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _fill(line, k, k_end, step, positions, ts, s):  # type: ignore[no-untyped-def]
    """The samples k ... k_end - 1 of a ray, into rows s and following of `positions`, which is flat.

    `line`: the ray's origin and direction in the unit cube, and its jitter.
    """
    ox, oy, oz, dx, dy, dz, place = line
    count = k_end - k
    if count < 8:
        for q in range(count):
            t = (k + q + place) * step
            ts[s + q] = t
            positions[3 * (s + q)] = min(max(ox + t * dx, 0.0), 1.0)
            positions[3 * (s + q) + 1] = min(max(oy + t * dy, 0.0), 1.0)
            positions[3 * (s + q) + 2] = min(max(oz + t * dz, 0.0), 1.0)
        return
    zero, one, spacing = splat_d8(0.0), splat_d8(1.0), splat_d8(step)
    x0, y0, z0, vx, vy, vz = splat_d8(ox), splat_d8(oy), splat_d8(oz), splat_d8(dx), splat_d8(dy), splat_d8(dz)
    for group in range((count + 7) // 8):
        q = min(8 * group, count - 8)  # the last eight may be written for the second time
        t = (splat_d8(k + q + place) + lanes_d8()) * spacing
        store_f8(ts, s + q, float_d8(t))
        x = minimum_d8(maximum_d8(x0 + t * vx, zero), one)
        y = minimum_d8(maximum_d8(y0 + t * vy, zero), one)
        z = minimum_d8(maximum_d8(z0 + t * vz, zero), one)
        store_triples_f8(positions, 3 * (s + q), float_d8(x), float_d8(y), float_d8(z))


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def march_rays(
    origins: np.ndarray,
    directions: np.ndarray,
    signed: np.ndarray,
    box: np.ndarray,
    radius: float,
    step: float,
    jitter: np.ndarray,
    bound: float,
    most: int,
) -> tuple:
    n, count = signed.shape[0], len(origins)
    scale, half, per_step = n / (2.0 * bound), 0.5 * n, 1.0 / step
    blocks = (count + BLOCK - 1) // BLOCK
    edges = np.empty((count + blocks, 2 * most), np.int32)  # each block has a row for lanes without a ray
    offsets = np.zeros(count + 1, np.int64)
    starts, ways = origins.reshape(-1), directions.reshape(-1)
    for block in numba.prange(blocks):
        eight, rays = np.empty((12, 8)), np.empty((12, BLOCK + 8))
        rows, counts = np.empty(BLOCK + 8, np.int32), np.empty(BLOCK + 8)
        crossing = 0
        for r in range(block * BLOCK, min(block * BLOCK + BLOCK, count), 8):
            if not _cross(starts, ways, jitter, r, box, radius + 1e-3, scale, half, per_step, eight.reshape(-1)):
                continue
            for q in range(min(8, count - r)):
                if eight[10, q] < eight[11, q]:
                    for value in range(12):
                        rays[value, crossing] = eight[value, q]
                    rows[crossing] = r + q
                    crossing += 1
        rays[:, crossing : crossing + 8] = 0.0  # lanes without a ray
        rows[crossing : crossing + 8] = count + block
        for lanes in range(0, crossing, 8):
            _count(rays, lanes, rows, signed, step, per_step, edges, counts)
        for q in range(crossing):
            offsets[rows[q] + 1] = np.int64(counts[q])
    for r in range(count):
        offsets[r + 1] += offsets[r]
    positions = np.empty((offsets[count], 3), np.float32)
    ts = np.empty(offsets[count], np.float32)
    flat, to_unit = positions.reshape(-1), scale / n
    for block in numba.prange(blocks):
        ray = np.empty((1, 10))
        for r in range(block * BLOCK, min(block * BLOCK + BLOCK, count)):
            s, end = offsets[r], offsets[r + 1]
            if s == end:
                continue
            line = (
                origins[r, 0] * to_unit + 0.5,
                origins[r, 1] * to_unit + 0.5,
                origins[r, 2] * to_unit + 0.5,
                directions[r, 0] * to_unit,
                directions[r, 1] * to_unit,
                directions[r, 2] * to_unit,
                np.float64(jitter[r]) if len(jitter) else 0.5,
            )
            run = 0
            while s < end:
                k, k_end = np.int64(edges[r, run]), np.int64(edges[r, run + 1])
                run += 2
                if run < 2 * most:
                    _fill(line, k, k_end, step, flat, ts, s)
                    s += k_end - k
                    continue
                _grid_ray(origins, directions, jitter, r, scale, half, ray, 0)  # the last one may have holes
                while k < k_end:
                    ahead, occupied = _ahead(ray, 0, float(k), float(k_end), step, per_step, signed)
                    if occupied:
                        _fill(line, k, np.int64(ahead), step, flat, ts, s)
                        s += np.int64(ahead) - k
                    k = np.int64(ahead)
    return positions, ts, offsets
