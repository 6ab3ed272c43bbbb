"""Ray marching through an occupancy grid: where to evaluate a field, and where not to.

Samples of a ray lie on one lattice, `t = (k + jitter) * step` measured from the ray's origin, so that a change of the
occupancy grid adds or removes samples and moves none. Empty space is skipped with a Chebyshev distance field: from a
cell whose nearest occupied cell is `d` cells away, the march jumps to the border of the empty box around it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import torch
from torch import Tensor

from distill3d.kernels.marching_torch import march_reference

RUNS = 4  # stretches a ray that are remembered from counting to filling


@dataclass(frozen=True)
class RaySamples:
    """Packed samples of `R` rays, ray after ray, front to back.

    Args:
        positions: [N, 3] float32, the grid's cube mapped to 0..1.
        t: [N] float32, distance from the ray's origin; a sample stands for an interval of length `step`.
        offsets: [R + 1] int64, the samples of ray r are `offsets[r]:offsets[r + 1]`.
        step: world units.
    """

    positions: Tensor
    t: Tensor
    offsets: Tensor
    step: float

    @property
    def ray_index(self) -> Tensor:
        """[N] int64: the ray of each sample."""
        counts = self.offsets[1:] - self.offsets[:-1]
        return torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)


def march(
    origins: Tensor, directions: Tensor, distance: Tensor, step: float, jitter: Tensor | None = None, bound: float = 1.0
) -> RaySamples:
    """The samples of each ray that fall into occupied cells.

    Args:
        origins, directions: [R, 3] float32; directions have unit length.
        distance: [G, G, G] uint8, `chebyshev_distance` of the occupancy over the cube [-bound, bound]^3.
        step: distance of two samples on a ray, world units.
        jitter: [R] in [0, 1), the place of the samples within their intervals; None is the middle.
        bound: half the side of the cube, world units.

    Returns:
        samples without gradient; the same as `march_reference`, but for those within rounding of a cell's border.
        The same bits on any number of threads.
    """
    origins, directions = origins.detach().reshape(-1, 3), directions.detach().reshape(-1, 3)
    if jitter is None:
        jitter = torch.full((len(origins),), 0.5, device=origins.device)
    if origins.device.type != "cpu":
        return RaySamples(*march_reference(origins, directions, distance == 0, step, jitter, bound), step)
    positions, t, offsets = _march(
        origins.float().contiguous().numpy(),
        directions.float().contiguous().numpy(),
        distance.contiguous().numpy(),
        float(step),
        jitter.float().contiguous().numpy(),
        float(bound),
    )
    return RaySamples(torch.from_numpy(positions), torch.from_numpy(t), torch.from_numpy(offsets), step)


def chebyshev_distance(occupied: Tensor) -> Tensor:
    """Distance of each cell to the nearest occupied one, counted in cells along the longest axis.

    Args:
        occupied: [G, G, G] bool.

    Returns:
        [G, G, G] uint8: 0 where occupied, at most 255, which is also what an empty grid holds everywhere.
    """
    if occupied.device.type != "cpu":
        return chebyshev_distance(occupied.cpu()).to(occupied.device)
    return torch.from_numpy(_chebyshev(occupied.contiguous().numpy()))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _chebyshev(occupied: np.ndarray) -> np.ndarray:
    """Two raster sweeps over half of the 26 neighbours each: exact for the maximum norm."""
    n0, n1, n2 = occupied.shape
    padded = np.full((n0 + 2, n1 + 2, n2 + 2), 255, np.int16)
    for i in range(n0):
        for j in range(n1):
            for k in range(n2):
                if occupied[i, j, k]:
                    padded[i + 1, j + 1, k + 1] = 0
    row = np.empty(n2 + 2, np.int16)
    for sweep in range(2):
        s = 1 if sweep == 0 else -1
        for a in range(n0):
            i = a + 1 if sweep == 0 else n0 - a
            for b in range(n1):
                j = b + 1 if sweep == 0 else n1 - b
                for k in range(n2 + 2):  # the column minimum of the four finished rows: vectorises
                    row[k] = min(
                        min(padded[i - s, j - 1, k], padded[i - s, j, k]),
                        min(padded[i - s, j + 1, k], padded[i, j - s, k]),
                    )
                for c in range(n2):
                    k = c + 1 if sweep == 0 else n2 - c
                    nearest = min(min(row[k - 1], row[k]), min(row[k + 1], padded[i, j, k - s])) + 1
                    if nearest < padded[i, j, k]:
                        padded[i, j, k] = nearest
    out = np.empty((n0, n1, n2), np.uint8)
    for i in range(n0):
        for j in range(n1):
            for k in range(n2):
                out[i, j, k] = min(padded[i + 1, j + 1, k + 1], 255)
    return out


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _occupied_box(distance: np.ndarray) -> np.ndarray:
    """[2, 3]: first and last + 1 occupied index along each axis; first > last where nothing is occupied."""
    n = distance.shape[0]
    box = np.empty((2, 3))
    box[0], box[1] = n, 0
    for i in range(n):
        for j in range(n):
            first, last = n, -1
            for k in range(n):
                if distance[i, j, k] == 0:
                    first = min(first, k)
                    last = k
            if last >= 0:
                box[0, 0], box[1, 0] = min(box[0, 0], i), max(box[1, 0], i + 1)
                box[0, 1], box[1, 1] = min(box[0, 1], j), max(box[1, 1], j + 1)
                box[0, 2], box[1, 2] = min(box[0, 2], first), max(box[1, 2], last + 1)
    return box


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _cell(p: float, n: int) -> int:
    return min(max(int(p), 0), n - 1)


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _exit(p: float, inverse: float, cell: int, d: int) -> float:
    """Ray parameter where the coordinate leaves the cells cell - d + 1 ... cell + d - 1."""
    border = cell + d if inverse > 0 else cell - d + 1
    return (border - p) * inverse


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _next_occupied(
    p: tuple, v: tuple, inverse: tuple, k: int, k_end: int, jitter: float, step: float, distance: np.ndarray
) -> int:
    """The first lattice index >= k whose sample lies in an occupied cell, or k_end."""
    n = distance.shape[0]
    while k < k_end:
        t = (k + jitter) * step
        i = _cell(p[0] + t * v[0], n)
        j = _cell(p[1] + t * v[1], n)
        m = _cell(p[2] + t * v[2], n)
        d = np.int64(distance[i, j, m])
        if d == 0:
            return k
        t_exit = min(min(_exit(p[0], inverse[0], i, d), _exit(p[1], inverse[1], j, d)), _exit(p[2], inverse[2], m, d))
        k = max(k + 1, int(np.ceil(min(t_exit / step - jitter - 1e-9, float(k_end)))))
    return k_end


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _span(p: tuple, inverse: tuple, box: np.ndarray, jitter: float, step: float) -> tuple:
    """First and last + 1 lattice index inside the box of occupied cells."""
    near, far = 0.0, 1e30
    for axis in range(3):
        a, b = (box[0, axis] - p[axis]) * inverse[axis], (box[1, axis] - p[axis]) * inverse[axis]
        near, far = max(near, min(a, b)), min(far, max(a, b))
    if not near < far:
        return 0, 0
    return int(max(np.ceil(near / step - jitter), 0.0)), int(np.ceil(far / step - jitter))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _grid_ray(origin: np.ndarray, direction: np.ndarray, scale: float, half: float) -> tuple:
    """Origin, direction and inverse direction in units of cells."""
    p = (origin[0] * scale + half, origin[1] * scale + half, origin[2] * scale + half)
    v = (direction[0] * scale, direction[1] * scale, direction[2] * scale)
    tiny = 1e-20  # a ray along an axis never leaves the others: a huge, finite inverse
    inverse = (
        1.0 / (v[0] if abs(v[0]) > tiny else tiny),
        1.0 / (v[1] if abs(v[1]) > tiny else tiny),
        1.0 / (v[2] if abs(v[2]) > tiny else tiny),
    )
    return p, v, inverse


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def _march(
    origins: np.ndarray, directions: np.ndarray, distance: np.ndarray, step: float, jitter: np.ndarray, bound: float
) -> tuple:
    n, rays = distance.shape[0], len(origins)
    scale, half, shrink = n / (2.0 * bound), 0.5 * n, 1.0 / n
    box = _occupied_box(distance)
    runs = np.empty((rays, RUNS, 2), np.int32)  # stretches of occupied samples: filling them needs no look-up
    last = np.zeros(rays, np.int32)
    offsets = np.zeros(rays + 1, np.int64)
    blocks = (rays + 63) // 64
    for block in numba.prange(blocks):
        for r in range(block * 64, min(block * 64 + 64, rays)):
            p, v, inverse = _grid_ray(origins[r], directions[r], scale, half)
            k, k_end = _span(p, inverse, box, jitter[r], step)
            count, run, end = 0, -1, -1
            while True:
                k = _next_occupied(p, v, inverse, k, k_end, jitter[r], step, distance)
                if k >= k_end:
                    break
                if k != end and run < RUNS - 1:
                    run += 1
                    runs[r, run, 0] = k
                count += 1
                k += 1
                end = k
                if run >= 0:
                    runs[r, run, 1] = end
            last[r] = run + 1
            offsets[r + 1] = count
    for r in range(rays):
        offsets[r + 1] += offsets[r]
    positions = np.empty((offsets[rays], 3), np.float32)
    ts = np.empty(offsets[rays], np.float32)
    for block in numba.prange(blocks):
        for r in range(block * 64, min(block * 64 + 64, rays)):
            s = offsets[r]
            if offsets[r + 1] == s:
                continue
            p, v, inverse = _grid_ray(origins[r], directions[r], scale, half)
            j = np.float64(jitter[r])
            for run in range(last[r]):
                k = np.int64(runs[r, run, 0])
                k_end = np.int64(runs[r, run, 1])
                while True:
                    if run == RUNS - 1:  # the last one may have holes
                        k = _next_occupied(p, v, inverse, k, k_end, jitter[r], step, distance)
                    if k >= k_end:
                        break
                    t = (k + j) * step
                    ts[s] = t
                    positions[s, 0] = min(max((p[0] + t * v[0]) * shrink, 0.0), 1.0)
                    positions[s, 1] = min(max((p[1] + t * v[1]) * shrink, 0.0), 1.0)
                    positions[s, 2] = min(max((p[2] + t * v[2]) * shrink, 0.0), 1.0)
                    s += 1
                    k += 1
    return positions, ts, offsets
