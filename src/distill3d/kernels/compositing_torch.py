"""Compositing of packed samples in plain torch: the reference of `composite`, and its path on other devices."""

from __future__ import annotations

import torch
from torch import Tensor

SURFACE = 0.2  # share of a ray's opacity in front of what counts as its surface: behind, densities are level and noisy


def composite_reference(
    density: Tensor, color: Tensor, t: Tensor, offsets: Tensor, step: float, stop: float = 0.0
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Volume rendering of each ray by itself (NeRF eq. 3, Mip-NeRF 360 eq. 15), differentiable by autograd.

    Args:
        density: [N]; color: [N, 3]; t: [N]; offsets: [R + 1].
        step: length of a sample's interval, world units.
        stop: samples behind a transmittance below this contribute nothing.

    Returns:
        rgb [R, 3], alpha [R], depth [R] (sum of w t, not divided by alpha), distortion [R], weights [N].
    """
    rays = len(offsets) - 1
    counts = offsets[1:] - offsets[:-1]
    width = int(counts.max()) if rays else 0
    column = torch.arange(width, device=density.device)
    valid = column < counts[:, None]  # [R, S]: the packed samples as a padded table
    place = (offsets[:-1, None] + column)[valid]

    def table(values: Tensor) -> Tensor:
        padded = values.new_zeros(rays, width, *values.shape[1:])
        padded[valid] = values[place]
        return padded

    optical = table(density) * step
    transmittance = torch.exp(-(optical.cumsum(1) - optical))
    w = transmittance * -torch.expm1(-optical) * (transmittance >= stop)
    depth = table(t)
    gap = (depth[:, :, None] - depth[:, None, :]).abs()
    distortion = (w[:, :, None] * w[:, None, :] * gap).sum((1, 2)) + step / 3 * w.square().sum(1)
    return (w[..., None] * table(color)).sum(1), w.sum(1), (w * depth).sum(1), distortion, w[valid]


def surface_reference(weights: Tensor, t: Tensor, offsets: Tensor) -> Tensor:
    """[R]: t of the first sample at which a ray has `SURFACE` of its opacity; 0 where it has none. No gradient."""
    rays = len(offsets) - 1
    index = torch.repeat_interleave(torch.arange(rays, device=t.device), offsets[1:] - offsets[:-1])
    total = torch.cat([t.new_zeros(1, dtype=torch.float64), weights.detach().double().cumsum(0)])
    passed, alpha = total[1:] - total[offsets[:-1]][index], total[offsets[1:]] - total[offsets[:-1]]
    reached = (passed >= SURFACE * alpha[index]) & (alpha[index] > 0)
    first = t.new_full((rays,), torch.inf).scatter_reduce(0, index[reached], t[reached], "amin")
    return torch.where(torch.isfinite(first), first, 0.0)
