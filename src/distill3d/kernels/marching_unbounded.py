"""Ray marching through a contracted, unbounded scene with an occupancy grid.

Space is contracted as in Mip-NeRF 360 (Barron et al. 2022, eq. 10): contract(x) = x inside the unit ball and
(2 - 1 / |x|) x / |x| outside, so that all of it lies in a ball of radius 2. Along a ray the samples are even in

    s(t) = t up to t0, t0 (1 + ln(t / t0)) beyond,

that is `step` apart near the camera and growing with the distance behind t0, where a pixel's footprint grows too. They
lie on one lattice, s = (k + jitter) step, so a change of the occupancy grid adds or removes samples and moves none.
Compositing happens in s: the density per unit of s is the density per world unit times dt/ds = max(1, t / t0), and the
distortion is that of Mip-NeRF 360 eq. 15, which is defined in such a coordinate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
import torch
from torch import Tensor

from distill3d.kernels.marching_unbounded_torch import contract, march_unbounded_reference, t_of_s, uncontract

__all__ = ["RayPath", "UnboundedSamples", "contract", "march_unbounded", "t_of_s", "uncontract"]


@dataclass(frozen=True)
class RayPath:
    """Where samples may lie on every ray.

    Args:
        step: distance of two samples in s, and in world units up to `t0`.
        t0: distance at which the steps begin to grow, in proportion to the distance.
        near, far: first and last distance, world units.
    """

    step: float
    t0: float
    near: float
    far: float

    @property
    def first(self) -> int:
        """The first lattice index whose interval lies beyond `near`."""
        return math.ceil(self._s(self.near) / self.step)

    @property
    def last(self) -> int:
        """One more than the last lattice index."""
        return max(self.first + 1, math.floor(self._s(self.far) / self.step))

    def _s(self, t: float) -> float:
        return t if t <= self.t0 else self.t0 * (1 + math.log(t / self.t0))


@dataclass(frozen=True)
class UnboundedSamples:
    """Packed samples of `R` rays, ray after ray, front to back.

    Args:
        positions: [N, 3] float32, contracted, the cube [-2, 2]^3 mapped to 0..1.
        s: [N] float32, the samples' coordinate on their rays; a sample stands for an interval of `step` in s.
        stretch: [N] float32, dt/ds there.
        offsets: [R + 1] int64, the samples of ray r are `offsets[r]:offsets[r + 1]`.
    """

    positions: Tensor
    s: Tensor
    stretch: Tensor
    offsets: Tensor


def march_unbounded(
    origins: Tensor, directions: Tensor, distance: Tensor, path: RayPath, jitter: Tensor | None = None
) -> UnboundedSamples:
    """The samples of each ray that fall into occupied cells of contracted space.

    Empty space is skipped with the Chebyshev distance field: a point whose nearest occupied cell is d cells away may
    move that far in contracted space, and contraction lengthens no path: outside the unit ball at radius r it shortens
    every one at least by (2 r - 1) / r^2, which bounds the world distance that is safe to skip.

    Args:
        origins, directions: [R, 3] float32; directions have unit length.
        distance: [G, G, G] uint8, `chebyshev_distance` of the occupancy over the contracted cube [-2, 2]^3.
        jitter: [R] in [0, 1), the place of the samples within their intervals; None is the middle.

    Returns:
        samples without gradient; the same as `march_unbounded_reference`, but for those within rounding of a cell's
        border. The same bits on any number of threads.
    """
    origins, directions = origins.detach().reshape(-1, 3), directions.detach().reshape(-1, 3)
    if jitter is None:
        jitter = torch.full((len(origins),), 0.5, device=origins.device)
    if origins.device.type != "cpu":
        occupied = distance == 0
        k = (path.first, path.last)
        return UnboundedSamples(
            *march_unbounded_reference(origins, directions, occupied, path.step, path.t0, *k, jitter)
        )
    parts = _march(
        origins.float().contiguous().numpy(),
        directions.float().contiguous().numpy(),
        distance.contiguous().numpy(),
        jitter.float().contiguous().numpy(),
        float(path.step),
        float(path.t0),
        path.first,
        path.last,
    )
    return UnboundedSamples(*(torch.from_numpy(part) for part in parts))


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _contracted(x: float, y: float, z: float) -> tuple:
    """The contracted point, and how many times at least contraction shortens paths at this radius."""
    squared = x * x + y * y + z * z
    if squared <= 1.0:
        return x, y, z, 1.0
    inverse = 1.0 / np.sqrt(squared)
    factor = (2.0 - inverse) * inverse
    return x * factor, y * factor, z * factor, 1.0 / factor


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _room(g: float, n: int) -> float:
    """Distance of a coordinate to the nearer border of its cell, in cells."""
    inside = g - np.floor(g)
    return min(inside, 1.0 - inside)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _after_skip(t: float, room: float, radius: float, shortening: float, step: float, t0: float, jitter: float) -> int:
    """The first lattice index whose sample is more than `room` contracted units away from the one at `t`."""
    ahead = room * shortening
    if radius > 1.0:  # moving inwards, paths are shortened less: bound by the innermost radius that is reached
        inner = max(radius - ahead, 1.0)
        ahead = room * inner * inner / (2.0 * inner - 1.0)
    t += ahead
    s = t if t <= t0 else t0 * (1.0 + np.log(t / t0))
    return int(np.ceil(s / step - jitter - 1e-9))


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def _march(
    origins: np.ndarray,
    directions: np.ndarray,
    distance: np.ndarray,
    jitter: np.ndarray,
    step: float,
    t0: float,
    first: int,
    last: int,
) -> tuple:
    n, rays = distance.shape[0], len(origins)
    scale, half, cell = n / 4.0, 0.5 * n, 4.0 / n
    lattice = np.empty(last)  # t of the lattice without jitter where it grows: jitter multiplies it
    for k in range(last):
        lattice[k] = t0 * np.exp(k * step / t0 - 1.0)
    kept = np.empty((rays, last - first), np.int32)
    offsets = np.zeros(rays + 1, np.int64)
    blocks = (rays + 63) // 64
    for block in numba.prange(blocks):
        for r in range(block * 64, min(block * 64 + 64, rays)):
            j = np.float64(jitter[r])
            grown = np.exp(j * step / t0)
            k, count = first, 0
            while k < last:
                s = (k + j) * step
                t = s if s <= t0 else lattice[k] * grown
                x = origins[r, 0] + t * directions[r, 0]
                y = origins[r, 1] + t * directions[r, 1]
                z = origins[r, 2] + t * directions[r, 2]
                a, b, c, shortening = _contracted(x, y, z)
                a, b, c = a * scale + half, b * scale + half, c * scale + half
                i, m, o = min(int(a), n - 1), min(int(b), n - 1), min(int(c), n - 1)
                d = np.int64(distance[i, m, o])
                if d == 0:
                    kept[r, count] = k
                    count += 1
                    k += 1
                else:
                    room = (d - 1 + min(_room(a, n), min(_room(b, n), _room(c, n)))) * cell
                    if room > step:
                        radius = np.sqrt(x * x + y * y + z * z)
                        k = max(k + 1, min(_after_skip(t, room, radius, shortening, step, t0, j), last))
                    else:
                        k += 1
            offsets[r + 1] = count
    for r in range(rays):
        offsets[r + 1] += offsets[r]
    positions = np.empty((offsets[rays], 3), np.float32)
    along = np.empty(offsets[rays], np.float32)
    stretch = np.empty(offsets[rays], np.float32)
    for block in numba.prange(blocks):
        for r in range(block * 64, min(block * 64 + 64, rays)):
            j = np.float64(jitter[r])
            grown = np.exp(j * step / t0)
            for q in range(offsets[r + 1] - offsets[r]):
                at = offsets[r] + q
                k = kept[r, q]
                s = (k + j) * step
                t = s if s <= t0 else lattice[k] * grown
                along[at] = s
                stretch[at] = max(t / t0, 1.0)
                x = origins[r, 0] + t * directions[r, 0]
                y = origins[r, 1] + t * directions[r, 1]
                z = origins[r, 2] + t * directions[r, 2]
                a, b, c, _ = _contracted(x, y, z)
                positions[at, 0], positions[at, 1], positions[at, 2] = a * 0.25 + 0.5, b * 0.25 + 0.5, c * 0.25 + 0.5
    return positions, along, stretch, offsets
