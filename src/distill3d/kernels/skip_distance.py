"""How far a march may jump from each cell of an occupancy grid: out of the empty box around it, or the solid one."""

from __future__ import annotations

import numba
import numpy as np
import torch
from torch import Tensor

DEEPEST = 8  # cells that a march may cross inside an occupied region without looking


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


def _occupied_box(occupied: np.ndarray) -> np.ndarray:
    """[2, 3]: first and last + 1 occupied index along each axis; first > last where nothing is occupied."""
    box = np.empty((2, 3))
    for axis in range(3):
        some = np.flatnonzero(occupied.any(axis=tuple(other for other in range(3) if other != axis)))
        box[:, axis] = (some[0], some[-1] + 1) if len(some) else (occupied.shape[axis], 0)
    return box


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _radius(occupied: np.ndarray, center: np.ndarray) -> float:
    """Of the ball around `center` that holds all occupied cells, corners and all; in cells, 0 where there is none."""
    n0, n1, n2 = occupied.shape
    most = 0.0
    for i in range(n0):
        for j in range(n1):
            across = (abs(i + 0.5 - center[0]) + 0.5) ** 2 + (abs(j + 0.5 - center[1]) + 0.5) ** 2
            for k in range(n2):
                if occupied[i, j, k]:
                    most = max(most, across + (abs(k + 0.5 - center[2]) + 0.5) ** 2)
    return np.sqrt(most)


def _depth(occupied: np.ndarray) -> np.ndarray:
    """[G, G, G] int8: how many times the grid can be eroded before a cell is empty, at most `DEEPEST`.

    What lies outside the grid counts as occupied. Rows stand one after another with a border between, so that an
    erosion along an axis is two ands of one long array with itself, shifted.
    """
    side = occupied.shape[0] + 2
    solid = np.pad(occupied.view(np.uint8), 1, constant_values=1)
    flat, depth = solid.reshape(-1), np.zeros(solid.size, np.int8)
    eroded = np.ones_like(flat)
    for _ in range(DEEPEST):
        depth += flat.view(np.int8)
        for shift in (1, side, side * side):
            np.bitwise_and(flat[:-shift], flat[shift:], out=eroded[:-shift])
            np.bitwise_and(eroded[shift:], flat[:-shift], out=flat[shift:])
            flat[:shift] = eroded[:shift]
        for face in (0, -1):
            solid[face] = solid[:, face] = solid[:, :, face] = 1
    return depth.reshape(solid.shape)[1:-1, 1:-1, 1:-1]


def skips(distance: Tensor) -> tuple[np.ndarray, np.ndarray, float]:
    """What the march reads: the cells' `distance`, or minus their depth where they are occupied; the box of the
    occupied cells; the radius of the ball around its centre that holds them.

    Kept until the tensor is written to (through torch), so that a grid is prepared once a refresh, not once a march.
    """
    known = getattr(distance, "skips", None)  # kept on the grid itself: it goes when the grid goes
    if known is not None and known[0] == distance._version:
        return known[1:]
    cells = distance.contiguous().numpy()
    occupied = cells == 0
    signed = np.minimum(cells, 127).astype(np.int8) - _depth(occupied)
    box = _occupied_box(occupied)
    prepared = np.ascontiguousarray(signed), box, _radius(occupied, box.mean(0))
    if not distance.is_inference():
        distance.skips = (distance._version, *prepared)  # type: ignore[attr-defined]
    return prepared
