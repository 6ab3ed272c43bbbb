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


def _array(tensor: Tensor) -> np.ndarray:
    """float32 and contiguous; a copy only where it must be one."""
    return np.ascontiguousarray(tensor.detach().float().numpy())


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
    """The arrays are numpy's, and tensors only where autograd sees them: on few rays, calls of torch cost the most."""

    @staticmethod
    def forward(
        ctx: Any, density: Tensor, color: Tensor, t: Tensor, offsets: Tensor, step: float, stop: float
    ) -> tuple[Tensor, ...]:
        arrays = *(_array(a) for a in (density, color, t)), offsets.numpy()
        samples, rays = len(density), len(offsets) - 1
        seen = tuple(np.empty(shape, np.float32) for shape in ((rays, 3), rays, rays, rays, samples, rays))
        ends = np.empty(rays, np.int64)
        composite_forward(*arrays, *seen, ends, step, stop, SURFACE)
        rgb, alpha, depth, distortion, weights, surface = (torch.from_numpy(a) for a in seen)
        ctx.save_for_backward(color, t, offsets, rgb, alpha, depth, distortion, weights)  # torch sees who changes them
        ctx.arrays, ctx.step = (*arrays[1:], *seen[:5], ends), step
        ctx.mark_non_differentiable(weights, surface)
        ctx.set_materialize_grads(False)
        return rgb, alpha, depth, distortion, weights, surface

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        ctx.saved_tensors  # noqa: B018 (refuses what was changed in between)
        given = (a if g is None else _array(g) for g, a in zip(grads[:4], ABSENT, strict=True))
        v_density, v_color = np.empty(len(ctx.arrays[0]), np.float32), np.empty_like(ctx.arrays[0])
        composite_backward(*ctx.arrays, *given, v_density, v_color, ctx.step)
        return torch.from_numpy(v_density), torch.from_numpy(v_color), None, None, None, None
