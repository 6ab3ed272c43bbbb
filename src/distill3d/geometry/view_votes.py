"""What several views say of a surface, put together in space: scores of cells, a threshold, and the volume behind."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from distill3d.core.cameras import Cameras

BINS = 256


def surface_scores(points: Tensor, scores: Tensor, seen: Tensor, cell: float) -> tuple[Tensor, Tensor]:
    """The mean score of every cell of the surface over the views that see it.

    Args:
        points: [V, H, W, 3], world; scores: [V, H, W]; seen: [V, H, W] bool, pixels that show a surface. cell: side.
    Returns:
        the cells' indices [M, 3] (a point divided by `cell`, rounded down), and their scores [M].
    """
    views, height, width = seen.shape
    view = torch.arange(views).view(-1, 1, 1).expand(-1, height, width)[seen]
    index = torch.floor(points[seen].double() / cell).long()
    cells, member = torch.unique(index, dim=0, return_inverse=True)
    place = member * views + view
    total = torch.bincount(place, scores[seen].double(), len(cells) * views).view(-1, views)
    count = torch.bincount(place, minlength=len(cells) * views).view(-1, views)
    seen_by = count > 0
    return cells, ((total / count.clamp(min=1)).sum(1) / seen_by.sum(1)).float()


def otsu(values: Tensor) -> float:
    """The threshold that parts values [N] into two classes with the greatest variance between them (Otsu 1979)."""
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return high
    histogram = torch.histc(values.double(), BINS, low, high)
    middles = low + (torch.arange(BINS, dtype=torch.float64) + 0.5) * (high - low) / BINS
    below, weight = histogram.cumsum(0), histogram * middles
    above = below[-1] - below
    mean_below = weight.cumsum(0) / below.clamp(min=1)
    mean_above = (weight.sum() - weight.cumsum(0)) / above.clamp(min=1)
    between = below * above * (mean_below - mean_above).square()
    return low + (int(between.argmax()) + 1) * (high - low) / BINS


def volume_of(
    cells: Tensor, chosen: Tensor, cell: float, radius: float, depth: Tensor, seen: Tensor, cameras: Cameras
) -> Tensor:
    """The part of space that belongs to some cells of a surface: middles of cells, world, [N, 3].

    A cell belongs to the nearest one of the surface; it is part of the volume if that one is chosen, and if it lies
    within `radius` of it or is hidden, behind the surface in every view that could see it: inside of the object.

    Args:
        cells: [M, 3], see `surface_scores`; chosen: [M] bool, some. cell, radius: world units.
        depth: [V, H, W] along the rays; seen: [V, H, W] bool, pixels with a surface. cameras: V pinholes.
    """
    margin = int(np.ceil(radius / cell)) + 1
    low = cells.amin(0) - margin
    size = (cells.amax(0) + margin + 1 - low).tolist()
    grid = np.zeros(size, np.int64)
    grid[tuple((cells - low).T.numpy())] = torch.arange(1, len(cells) + 1).numpy()
    steps, where = distance_transform_edt(grid == 0, return_indices=True)
    nearest = torch.from_numpy(grid[tuple(where)] - 1)
    ours = chosen[nearest].view(-1)
    middles = (torch.from_numpy(np.indices(size)).permute(1, 2, 3, 0).reshape(-1, 3) + low + 0.5) * cell
    near = torch.from_numpy(steps).view(-1) * cell <= radius
    found = ours & near
    rest = (ours & ~near).nonzero()[:, 0]
    found[rest[hidden(middles[rest], depth, seen, cameras)]] = True
    return middles[found].float()


def hidden(points: Tensor, depth: Tensor, seen: Tensor, cameras: Cameras) -> Tensor:
    """Which of the points [N, 3] lie behind the surface in every view that has them in its picture; in one at least."""
    behind = torch.ones(len(points), dtype=torch.bool)
    somewhere = torch.zeros_like(behind)
    places, ahead = cameras.project(points)
    for k in range(len(cameras)):
        column, row = places[k].floor().long().unbind(-1)
        there = (row >= 0) & (row < cameras.height) & (column >= 0) & (column < cameras.width) & (ahead[k] > 1e-6)
        away = (points - cameras.position[k].to(points)).norm(dim=-1)
        pixel = (row.clamp(0, cameras.height - 1), column.clamp(0, cameras.width - 1))
        covered = seen[k][pixel] & (depth[k][pixel].to(points) < away)
        behind &= covered | ~there
        somewhere |= there
    return behind & somewhere
