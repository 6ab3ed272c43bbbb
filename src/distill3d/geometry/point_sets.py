"""How like two sets of shapes are, by points on their surfaces (Achlioptas et al. 2018; Yang et al. 2019)."""

from __future__ import annotations

import numba as nb
import numpy as np
import torch
from torch import Tensor


def chamfer_distances(first: Tensor, second: Tensor) -> Tensor:
    """Chamfer distance of every shape of one set to every shape of the other.

    Args:
        first: [A, N, 3] points on A surfaces. second: [B, M, 3].
    Returns:
        [A, B] float32: mean squared distance to the nearest point, summed over both directions (Fan et al. 2017).
    """
    columns = (np.ascontiguousarray(points.float().mT.numpy()) for points in (first, second))
    return torch.from_numpy(_chamfer(*columns))


@nb.njit(cache=True, nogil=True, parallel=True, fastmath={"nnan", "nsz", "reassoc", "contract"})
def _chamfer(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The same for [A, 3, N] and [B, 3, M]. Five hundred shapes of 512 points a side are 6e10 distances: each is made
    once, for both directions, and never stored."""
    out = np.empty((len(first), len(second)), np.float32)
    for i in nb.prange(len(first)):
        nearest = np.empty(second.shape[2], np.float32)
        for j in range(len(second)):
            nearest[:] = np.float32(1e30)
            there = np.float32(0)
            for p in range(first.shape[2]):
                x, y, z = first[i, 0, p], first[i, 1, p], first[i, 2, p]
                least = np.float32(1e30)
                for q in range(second.shape[2]):
                    dx, dy, dz = second[j, 0, q] - x, second[j, 1, q] - y, second[j, 2, q] - z
                    squared = dx * dx + dy * dy + dz * dz
                    least = min(least, squared)
                    nearest[q] = min(nearest[q], squared)
                there += least
            out[i, j] = there / first.shape[2] + nearest.mean()
    return out


def coverage(made_to_real: Tensor) -> float:
    """COV: the share of real shapes that are the nearest one to some made shape, from distances [made, real]."""
    return len(made_to_real.argmin(1).unique()) / made_to_real.shape[1]


def minimum_matching_distance(made_to_real: Tensor) -> float:
    """MMD: the distance of a real shape to the nearest made one, in the mean, from distances [made, real]."""
    return float(made_to_real.amin(0).mean())


def one_nearest_neighbour_accuracy(made: Tensor, made_to_real: Tensor, real: Tensor) -> float:
    """1-NNA: how often a shape's nearest neighbour is of its own set; 0.5 where the sets cannot be told apart.

    Args:
        made: distances [A, A] among the made shapes. made_to_real: [A, B]. real: [B, B].
    """
    count = len(made)
    whole = torch.cat([torch.cat([made, made_to_real], 1), torch.cat([made_to_real.T, real], 1)])
    whole = whole + torch.diag(whole.new_full((len(whole),), float("inf")))
    own = torch.arange(len(whole)) < count
    return float((own[whole.argmin(1)] == own).float().mean())
