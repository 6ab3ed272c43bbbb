"""Marching through contracted space in plain torch: the reference of `march_unbounded`, and its path on CUDA."""

from __future__ import annotations

import torch
from torch import Tensor


def contract(points: Tensor) -> Tensor:
    """World points [..., 3] into the ball of radius 2 (Mip-NeRF 360, Barron et al. 2022, eq. 10)."""
    radius = points.norm(dim=-1, keepdim=True).clamp(min=1.0)
    return points * (2 - 1 / radius) / radius


def uncontract(points: Tensor) -> Tensor:
    """World points of contracted points [..., 3]; those at radius 2 and beyond go far away, to radius 1e6."""
    radius = points.norm(dim=-1, keepdim=True).clamp(min=1.0)
    return points / (radius * (2 - radius).clamp(min=1e-6))


def t_of_s(s: Tensor, t0: float) -> Tensor:
    """Distance along the ray of the coordinate s: s itself up to t0, t0 exp(s / t0 - 1) beyond."""
    return torch.where(s <= t0, s, t0 * torch.exp(s / t0 - 1))


def march_unbounded_reference(
    origins: Tensor,
    directions: Tensor,
    occupied: Tensor,
    step: float,
    t0: float,
    first: int,
    last: int,
    jitter: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Every lattice sample of every ray looked up in the grid; nothing is skipped.

    Args:
        origins, directions: [R, 3]; directions have unit length.
        occupied: [G, G, G] bool over the contracted cube [-2, 2]^3.
        first, last: range of lattice indices.
        jitter: [R] in [0, 1).

    Returns:
        positions [N, 3] in 0..1, s [N], dt/ds [N], offsets [R + 1], as in `UnboundedSamples`. Memory grows with R
        times `last`.
    """
    n = occupied.shape[0]
    s = (torch.arange(first, last, device=origins.device) + jitter.double()[:, None]) * step  # [R, K]
    t = t_of_s(s, t0)
    points = contract(origins.double()[:, None] + t[..., None] * directions.double()[:, None]) / 4 + 0.5
    i, j, m = (points * n).long().clamp(0, n - 1).unbind(-1)
    keep = occupied[i, j, m]
    offsets = torch.zeros(len(origins) + 1, dtype=torch.int64, device=origins.device)
    offsets[1:] = keep.sum(1).cumsum(0)
    return points[keep].float(), s[keep].float(), (t / t0).clamp(min=1)[keep].float(), offsets
