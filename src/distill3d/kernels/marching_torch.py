"""Ray marching in plain torch: the reference of `march`, and its path on devices other than the CPU."""

from __future__ import annotations

import torch
from torch import Tensor


def march_reference(
    origins: Tensor, directions: Tensor, occupied: Tensor, step: float, jitter: Tensor, bound: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Every lattice sample of every ray looked up in the grid; nothing is skipped.

    Args:
        origins, directions: [R, 3]; directions have unit length.
        occupied: [G, G, G] bool over the cube [-bound, bound]^3.
        step, bound: world units.
        jitter: [R] in [0, 1).

    Returns:
        positions [N, 3] in 0..1, t [N], offsets [R + 1], as in `RaySamples`. Memory grows with R times the longest ray.
    """
    n = occupied.shape[0]
    reach = float(origins.double().norm(dim=-1).max()) + 3**0.5 * bound if len(origins) else 0.0
    k = torch.arange(int(reach / step) + 1, device=origins.device)
    t = (k + jitter.double()[:, None]) * step  # [R, K]
    points = (origins.double()[:, None] + t[..., None] * directions.double()[:, None]) / (2 * bound) + 0.5
    inside = ((points >= 0) & (points < 1)).all(-1)
    i, j, m = (points * n).long().clamp(0, n - 1).unbind(-1)
    keep = inside & occupied[i, j, m]
    offsets = torch.zeros(len(origins) + 1, dtype=torch.int64, device=origins.device)
    offsets[1:] = keep.sum(1).cumsum(0)
    return points[keep].float(), t[keep].float(), offsets
