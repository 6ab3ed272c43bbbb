"""How like two sets of shapes are, by points on their surfaces (Achlioptas et al. 2018; Yang et al. 2019)."""

from __future__ import annotations

import torch
from torch import Tensor


def chamfer_distances(first: Tensor, second: Tensor, chunk: int = 64) -> Tensor:
    """Chamfer distance of every shape of one set to every shape of the other.

    Args:
        first: [A, N, 3] points on A surfaces. second: [B, M, 3].
        chunk: shapes of `second` at once.
    Returns:
        [A, B]: mean squared distance to the nearest point, summed over both directions (Fan et al. 2017).
    """
    rows = []
    for shape in first:
        columns = []
        for others in second.split(chunk):
            squared = torch.cdist(shape[None].expand(len(others), -1, -1), others).square()
            columns.append(squared.amin(2).mean(1) + squared.amin(1).mean(1))
        rows.append(torch.cat(columns))
    return torch.stack(rows)


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
