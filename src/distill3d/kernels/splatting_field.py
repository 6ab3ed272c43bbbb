"""Gaussians as a volume: density and colour at points, for surfaces and baked textures.

A Gaussian of opacity o that a ray meets in its middle stops as much light as a density with the integral -log(1 - o)
along the ray. Spread like the Gaussian itself, along its mean size s, that is a density of -log(1 - o) / (sqrt(2 pi) s)
at its centre. Sizes are held to at least `THINNEST`, or a flat Gaussian would slip between the points of a grid.

The points find their Gaussians in a grid of cells, each with the list of those that reach into it.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import torch
from scipy.spatial import cKDTree

from distill3d.kernels.splatting_torch import rotation_of

REACH = 3.5  # standard deviations
THINNEST = 0.008  # world units: half of what lies between the points of a grid of 128
MOST_ENTRIES = 1 << 25  # of all cells' lists; a grid of fewer cells is taken where there would be more
FINEST, COARSEST = 64, 2


class SplatField:
    """Density and colour of N Gaussians.

    Args:
        means: [N, 3]; quats: [N, 4]; log_scales: [N, 3]; logits: [N]; colors: [N, 3]. All float32.
    """

    def __init__(
        self, means: np.ndarray, quats: np.ndarray, log_scales: np.ndarray, logits: np.ndarray, colors: np.ndarray
    ) -> None:
        scales = np.maximum(np.exp(log_scales.astype(np.float64)), THINNEST)
        opacity = np.clip(1 / (1 + np.exp(-logits.astype(np.float64))), 0, 0.999)
        mean_size = scales.prod(1) ** (1 / 3)
        self.peak = (-np.log1p(-opacity) / (math.sqrt(2 * math.pi) * mean_size)).astype(np.float32)
        rotation = rotation_of(torch.from_numpy(quats).double()).numpy()
        self.whiten = np.ascontiguousarray((rotation / scales[:, None]).transpose(0, 2, 1), np.float32)  # [N, 3, 3]
        self.means, self.colors = np.ascontiguousarray(means, np.float32), np.ascontiguousarray(colors, np.float32)
        half = (REACH * np.sqrt(np.square(rotation * scales[:, None]).sum(2))).astype(np.float32)
        low, high = (means - half).min(0), (means + half).max(0)
        self.corner = low
        self.cells, self.size = FINEST, np.maximum(high - low, 1e-6) / FINEST
        while self.cells > COARSEST and _reached(self.means, half, self.corner, self.size, self.cells) > MOST_ENTRIES:
            self.cells, self.size = self.cells // 2, self.size * 2
        self.size = self.size.astype(np.float32)
        self.starts, self.lists = _fill_cells(self.means, half, self.corner, self.size, self.cells)
        self._tree: cKDTree | None = None

    def at(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Density [P] per world unit and colour [P, 3] at points [P, 3]; where no Gaussian reaches, density 0 and the
        colour of the nearest."""
        points = np.ascontiguousarray(points, np.float32)
        density, color = _query(
            points, self.means, self.whiten, self.peak, self.colors, self.corner, self.size, self.cells, self.starts,
            self.lists,
        )  # fmt: skip
        alone = np.flatnonzero(density <= 0)
        if len(alone):
            self._tree = self._tree or cKDTree(self.means)
            color[alone] = self.colors[self._tree.query(points[alone])[1]]
        return density, color


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _range(center: float, half: float, corner: float, size: float, cells: int) -> tuple:
    first = int(min(max((center - half - corner) / size, 0.0), cells - 1.0))
    last = int(min(max((center + half - corner) / size, 0.0), cells - 1.0)) + 1
    return first, last


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _reached(means: np.ndarray, half: np.ndarray, corner: np.ndarray, size: np.ndarray, cells: int) -> int:
    total = 0
    for n in range(len(means)):
        count = 1
        for axis in range(3):
            first, last = _range(means[n, axis], half[n, axis], corner[axis], size[axis], cells)
            count *= last - first
        total += count
    return total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _fill_cells(
    means: np.ndarray, half: np.ndarray, corner: np.ndarray, size: np.ndarray, cells: int
) -> tuple[np.ndarray, np.ndarray]:
    starts = np.zeros(cells**3 + 1, np.int64)
    lists = np.empty(0, np.int32)
    for fill in range(2):
        for n in range(len(means)):
            x0, x1 = _range(means[n, 0], half[n, 0], corner[0], size[0], cells)
            y0, y1 = _range(means[n, 1], half[n, 1], corner[1], size[1], cells)
            z0, z1 = _range(means[n, 2], half[n, 2], corner[2], size[2], cells)
            for x in range(x0, x1):
                for y in range(y0, y1):
                    for z in range(z0, z1):
                        cell = (x * cells + y) * cells + z
                        if fill:
                            lists[starts[cell]] = n
                            starts[cell] += 1
                        else:
                            starts[cell + 1] += 1
        if fill:  # every start has moved to the next one's place
            for cell in range(cells**3, 0, -1):
                starts[cell] = starts[cell - 1]
            starts[0] = 0
        else:
            for cell in range(cells**3):
                starts[cell + 1] += starts[cell]
            lists = np.empty(starts[cells**3], np.int32)
    return starts, lists


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def _query(
    points: np.ndarray,
    means: np.ndarray,
    whiten: np.ndarray,
    peak: np.ndarray,
    colors: np.ndarray,
    corner: np.ndarray,
    size: np.ndarray,
    cells: int,
    starts: np.ndarray,
    lists: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    density, color = np.zeros(len(points), np.float32), np.zeros((len(points), 3), np.float32)
    for p in numba.prange(len(points)):
        x, y, z = (points[p, 0] - corner[0]) / size[0], (points[p, 1] - corner[1]) / size[1], np.float32(0)
        z = (points[p, 2] - corner[2]) / size[2]
        if not (0 <= x <= cells and 0 <= y <= cells and 0 <= z <= cells):
            continue
        cell = (min(int(x), cells - 1) * cells + min(int(y), cells - 1)) * cells + min(int(z), cells - 1)
        total, red, green, blue = 0.0, 0.0, 0.0, 0.0
        for k in range(starts[cell], starts[cell + 1]):
            n = lists[k]
            dx, dy, dz = points[p, 0] - means[n, 0], points[p, 1] - means[n, 1], points[p, 2] - means[n, 2]
            d2 = np.float32(0)
            for axis in range(3):
                along = whiten[n, axis, 0] * dx + whiten[n, axis, 1] * dy + whiten[n, axis, 2] * dz
                d2 += along * along
            if d2 > REACH * REACH:
                continue
            value = peak[n] * math.exp(-0.5 * d2)
            total += value
            red += value * colors[n, 0]
            green += value * colors[n, 1]
            blue += value * colors[n, 2]
        density[p] = total
        if total > 0:
            color[p, 0], color[p, 1], color[p, 2] = red / total, green / total, blue / total
    return density, color
