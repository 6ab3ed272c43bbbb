"""Compositing of packed samples by operations that run on any device: nerfacc's weights, or torch's.

A sum over a ray's samples in front of each is a running sum over all samples minus its value where the ray begins. In
double, so that rays late in the batch lose no digits. Sums over rays add in no fixed order on CUDA: their last bits
change from run to run.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from distill3d.kernels.compositing_torch import surface_reference


def composite_packed(
    density: Tensor, color: Tensor, t: Tensor, offsets: Tensor, step: float, stop: float, nerfacc: Any | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Arguments of `composite`, results of `Composited` in order; differentiable by autograd.

    Args:
        nerfacc: the library with its CUDA kernels, for the weights and the sums over rays; None is plain torch.
    """
    rays = len(offsets) - 1
    counts = offsets[1:] - offsets[:-1]
    index = torch.repeat_interleave(torch.arange(rays, device=t.device), counts)
    if nerfacc is None or not len(t):
        weights, transmittance = weights_packed(density, index, offsets, step)
    else:
        packed_info = torch.stack([offsets[:-1], counts], -1)
        weights, transmittance, _ = nerfacc.render_weight_from_density(
            t - step / 2, t + step / 2, density, packed_info=packed_info
        )
    weights = weights * (transmittance >= stop)

    def over_rays(values: Tensor) -> Tensor:
        if nerfacc is None:
            empty = values.new_zeros(rays, values.shape[-1])
            return empty.index_add(0, index, weights[:, None] * values)
        return nerfacc.accumulate_along_rays(weights, values, index, rays)

    rgb, alpha = over_rays(color), over_rays(torch.ones_like(t)[:, None])[:, 0]
    depth = over_rays(t[:, None])[:, 0]
    distortion = distortion_packed(weights, t, index, offsets, step)
    surface = surface_reference(weights, t, offsets)
    return rgb, alpha, depth, distortion, weights.detach(), surface


def weights_packed(density: Tensor, index: Tensor, offsets: Tensor, step: float) -> tuple[Tensor, Tensor]:
    """Weight and transmittance of each sample (NeRF, Mildenhall et al. 2020, eq. 3), [N] each."""
    optical = density * step
    transmittance = torch.exp(-in_front(optical, index, offsets)).to(density.dtype)
    return transmittance * -torch.expm1(-optical), transmittance


def distortion_packed(weights: Tensor, t: Tensor, index: Tensor, offsets: Tensor, step: float) -> Tensor:
    """[R]: sum_ij w_i w_j |t_i - t_j| + step / 3 sum_i w_i^2 (Mip-NeRF 360, Barron et al. 2022, eq. 15).

    Each pair is counted at its farther sample, as the papers' CUDA codes do: 2 w_i (t_i sum_{j<i} w_j - sum_{j<i} w_j
    t_j). Distances are taken from the ray's first sample, so that the difference keeps its digits.
    """
    if not len(t):
        return weights.new_zeros(len(offsets) - 1) + weights.sum()
    near = t - t[offsets[:-1].clamp(max=len(t) - 1)][index]
    pairs = near * in_front(weights, index, offsets) - in_front(weights * near, index, offsets)
    terms = weights * (2 * pairs.to(weights.dtype) + step / 3 * weights)
    return weights.new_zeros(len(offsets) - 1).index_add(0, index, terms)


def in_front(values: Tensor, index: Tensor, offsets: Tensor) -> Tensor:
    """[N] double: the sum of the values of the samples in front of each, on its ray."""
    total = torch.cat([values.new_zeros(1, dtype=torch.float64), values.double().cumsum(0)])
    return total[:-1] - total[offsets[:-1]][index]
