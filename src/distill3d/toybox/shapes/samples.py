"""Batches of attributed shapes as the training of part Gaussians wants them: grids, and points told inside or out."""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from distill3d.toybox.shapes.attributes import AttributedShape, sample_shape
from distill3d.toybox.shapes.solid_grid import filled_cells, holding_part

FINE = 64  # cells along each side of the grid that everything is drawn from
NEAR = 0.75  # share of the points that lie by the surface


@dataclass(frozen=True)
class ShapeBatch:
    """B shapes.

    Args:
        shapes: what they are.
        fine: [B, 64, 64, 64] float32, 1 in filled cells, indexed [x, y, z].
        inside: [B, M, 3], half of them drawn evenly from the solids and half from their outermost cells: evenly alone,
            the legs of a chair would be too little of it to be told apart.
        points: [B, N, 3], three quarters by the surface, the others anywhere in the cube.
        filled: [B, N] bool, exact.
    """

    shapes: list[AttributedShape]
    fine: Tensor
    inside: Tensor
    points: Tensor
    filled: Tensor

    @property
    def coarse(self) -> Tensor:
        """[B, 32, 32, 32]: filled share of each cell, what the encoder reads."""
        return functional.avg_pool3d(self.fine[:, None], 2)[:, 0]


def shape_batch(seed: int, index: int, count: int, points: int = 1024, inside: int = 512) -> ShapeBatch:
    """Batch `index` of the endless stream `seed`."""
    rng = np.random.default_rng((seed, index))
    return batch_of([sample_shape(rng) for _ in range(count)], rng, points, inside)


def batch_of(shapes: list[AttributedShape], rng: np.random.Generator, points: int, inside: int) -> ShapeBatch:
    """These shapes, with points drawn from `rng`."""
    columns: list[tuple[np.ndarray, ...]] = []
    for shape in shapes:
        grid = filled_cells(shape.parts, FINE) >= 0
        surface, near = _surface_cells(grid), round(NEAR * points)
        by_surface, anywhere = _jittered(surface, near, 1.5, rng), 2 * rng.random((points - near, 3)) - 1
        asked = np.concatenate([by_surface, anywhere]).astype(np.float32)
        volume = _jittered(np.argwhere(grid), inside - inside // 2, 0.5, rng)
        within = np.concatenate([volume, _jittered(surface, inside // 2, 0.5, rng)])
        columns.append((grid, within, asked, holding_part(shape.parts, asked) >= 0))
    fine, volume, where, filled = (np.stack(column) for column in zip(*columns, strict=True))
    tensors = (torch.from_numpy(fine).float(), torch.from_numpy(volume).float(), torch.from_numpy(where))
    return ShapeBatch(shapes, *tensors, torch.from_numpy(filled))


def _jittered(cells: np.ndarray, count: int, reach: float, rng: np.random.Generator) -> np.ndarray:
    """`count` points drawn from `cells` [K, 3], within `reach` cells of their centres, in world units."""
    chosen = cells[rng.integers(len(cells), size=count)] + 0.5
    return (chosen + reach * (2 * rng.random((count, 3)) - 1)) * (2 / FINE) - 1


@nb.njit(cache=True)
def _surface_cells(grid):
    """Positions [K, 3] of filled cells with an empty one beside them; the rim of the grid is empty."""
    n = grid.shape[0]
    found = np.empty((grid.sum(), 3), np.int64)
    count = 0
    for i in range(1, n - 1):
        for j in range(1, n - 1):
            for k in range(1, n - 1):
                if grid[i, j, k] and not (
                    grid[i - 1, j, k]
                    and grid[i + 1, j, k]
                    and grid[i, j - 1, k]
                    and grid[i, j + 1, k]
                    and grid[i, j, k - 1]
                    and grid[i, j, k + 1]
                ):
                    found[count, 0], found[count, 1], found[count, 2] = i, j, k
                    count += 1
    return found[:count]
