"""Compositing of packed samples along rays, forward and backward (the kernels: `kernels.compositing_numba`)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from distill3d.kernels import cuda_libraries
from distill3d.kernels.compositing_cuda import composite_packed
from distill3d.kernels.compositing_numba import composite_backward, composite_forward
from distill3d.kernels.compositing_torch import SURFACE

NONE = np.empty(0, np.float32)
ABSENT = np.empty((0, 3), np.float32), NONE, NONE, NONE  # gradients of rgb, alpha, depth, distortion that did not come


class Composited(NamedTuple):
    """What a ray sees.

    rgb [R, 3] without a background; alpha [R]; depth [R], the sum of w t (not divided by alpha);
    distortion [R]; weights [N] and surface [R], the distance where a fifth of the ray's opacity is reached (0 where
    there is none), without gradient.
    """

    rgb: Tensor
    alpha: Tensor
    depth: Tensor
    distortion: Tensor
    weights: Tensor
    surface: Tensor


def composite(
    density: Tensor, color: Tensor, t: Tensor, offsets: Tensor, step: float, stop: float = 1e-4
) -> Composited:
    """Volume rendering by quadrature (NeRF, Mildenhall et al. 2020, eq. 3) of packed samples.

    w_k = T_k (1 - exp(-density_k step)), T_k the transmittance in front of the sample; the distortion of a ray is
    sum_ij w_i w_j |t_i - t_j| + step / 3 sum_i w_i^2 (Mip-NeRF 360, Barron et al. 2022, eq. 15).

    Args:
        density: [N] >= 0, per world unit; color: [N, 3]; t: [N], ascending within a ray.
        offsets: [R + 1] int64, the samples of ray r are `offsets[r]:offsets[r + 1]`.
        step: length of a sample's interval, world units.
        stop: samples behind a transmittance below this contribute nothing.

    Returns:
        float32; gradients to density and color, from rgb, alpha, depth and distortion. Agrees with
        `composite_reference` to 3e-6 in values and 1e-5 (relative to the largest) in gradients.
        The same bits on any number of threads.
    """
    if density.device.type != "cpu":
        library = cuda_libraries.nerfacc() if density.device.type == "cuda" else None
        return Composited(*composite_packed(density, color, t, offsets, step, stop, library))
    return Composited(*_Composite.apply(density, color, t, offsets, float(step), float(stop)))


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, density: Tensor, color: Tensor, t: Tensor, offsets: Tensor, step: float, stop: float
    ) -> tuple[Tensor, ...]:
        density, color, t = (a.detach().float().contiguous() for a in (density, color, t))
        rays = len(offsets) - 1
        rgb, alpha, depth, distortion, surface = torch.empty(rays, 3), *torch.empty(4, rays)
        weights, ends = torch.empty(len(t)), torch.empty(rays, dtype=torch.int64)
        arrays = (density, color, t, offsets, rgb, alpha, depth, distortion, weights, surface, ends)
        composite_forward(*(a.numpy() for a in arrays), step, stop, SURFACE)
        ctx.save_for_backward(color, t, offsets, rgb, alpha, depth, distortion, weights, ends)
        ctx.step = step
        ctx.mark_non_differentiable(weights, surface)
        ctx.set_materialize_grads(False)
        return rgb, alpha, depth, distortion, weights, surface

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        given = (a if g is None else g.float().contiguous().numpy() for g, a in zip(grads[:4], ABSENT, strict=True))
        v_density, v_color = torch.empty(len(saved[1])), torch.empty(len(saved[1]), 3)
        composite_backward(*(a.numpy() for a in saved), *given, v_density.numpy(), v_color.numpy(), ctx.step)
        return v_density, v_color, None, None, None, None
