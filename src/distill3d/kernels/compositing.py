"""Compositing of packed samples along rays, forward and backward.

The backward pass goes front to back like the forward pass. The gradient with respect to the density of sample k is
`step (T_{k+1} g_k - sum_{j>k} w_j g_j)` with g_k the gradient with respect to its weight; the sum behind k is the
total minus the prefix, and the total follows from the outputs, so one scalar of state a ray is enough: no second
sweep and no division. (The distortion is homogeneous of degree two in the weights: its total is twice its value.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from torch import Tensor

from distill3d.kernels.compositing_torch import SURFACE, composite_reference, surface_reference


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
    if density.device.type == "cuda":
        packed = _composite_nerfacc(density, color, t, offsets, step, stop)
        if packed is not None:
            return packed
    if density.device.type != "cpu":
        rgb, alpha, depth, distortion, weights = composite_reference(density, color, t, offsets, step, stop)
        return Composited(rgb, alpha, depth, distortion, weights.detach(), surface_reference(weights, t, offsets))
    return Composited(*_Composite.apply(density, color, t, offsets, float(step), float(stop)))


def _composite_nerfacc(
    density: Tensor, color: Tensor, t: Tensor, offsets: Tensor, step: float, stop: float
) -> Composited | None:
    """The same through nerfacc's CUDA kernels; None where nerfacc is missing. The distortion is left at zero."""
    try:
        from nerfacc import accumulate_along_rays, render_weight_from_density
    except ImportError:
        return None
    rays = len(offsets) - 1
    index = torch.repeat_interleave(torch.arange(rays, device=t.device), offsets[1:] - offsets[:-1])
    weights, transmittance, _ = render_weight_from_density(
        t - step / 2, t + step / 2, density, ray_indices=index, n_rays=rays
    )
    weights = weights * (transmittance >= stop)
    rgb = accumulate_along_rays(weights, color, index, rays)
    alpha = accumulate_along_rays(weights, None, index, rays)[:, 0]
    depth = accumulate_along_rays(weights, t[:, None], index, rays)[:, 0]
    surface = surface_reference(weights, t, offsets)
    return Composited(rgb, alpha, depth, torch.zeros_like(alpha), weights.detach(), surface)


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, density: Tensor, color: Tensor, t: Tensor, offsets: Tensor, step: float, stop: float
    ) -> tuple[Tensor, ...]:
        arrays = (density.detach().float().contiguous(), color.detach().float().contiguous(), t.float().contiguous())
        out, weights = _forward(*(a.numpy() for a in arrays), offsets.numpy(), step, stop, SURFACE)
        rays = torch.from_numpy(out)
        ctx.save_for_backward(*arrays[1:], offsets, rays, torch.from_numpy(weights))
        ctx.step, ctx.stop = step, stop
        weights, surface = torch.from_numpy(weights), rays[:, 6].contiguous()
        ctx.mark_non_differentiable(weights, surface)
        alpha, depth, distortion = (rays[:, column].contiguous() for column in (3, 4, 5))
        return rays[:, :3].contiguous(), alpha, depth, distortion, weights, surface

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        color, t, offsets, rays, weights = ctx.saved_tensors
        v = torch.cat([grads[0], torch.stack(grads[1:4], -1)], -1)
        arrays = (a.contiguous().numpy() for a in (color, t, offsets, rays, weights, v.float()))
        v_density, v_color = _backward(*arrays, ctx.step, ctx.stop)
        return torch.from_numpy(v_density), torch.from_numpy(v_color), None, None, None, None


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def _forward(
    density: np.ndarray, color: np.ndarray, t: np.ndarray, offsets: np.ndarray, step: float, stop: float, share: float
) -> tuple:
    rays = len(offsets) - 1
    out = np.zeros((rays, 7), np.float32)  # rgb, alpha, depth, distortion, surface
    weights = np.zeros(len(density), np.float32)
    blocks = (rays + 63) // 64
    for block in numba.prange(blocks):
        for r in range(block * 64, min(block * 64 + 64, rays)):
            transmittance, red, green, blue, depth, pairs, squares = 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            for s in range(offsets[r], offsets[r + 1]):
                if transmittance < stop:
                    break
                # in double, 1 - exp(-x) keeps its digits for small x and costs nothing next to the loads
                weights[s] = transmittance * (1.0 - np.exp(-np.float64(density[s]) * step))
                w = np.float64(weights[s])  # rounded as it is stored: both passes then stop at the same sample
                pairs += w * (t[s] * (1.0 - transmittance) - depth)
                squares += w * w
                red += w * color[s, 0]
                green += w * color[s, 1]
                blue += w * color[s, 2]
                depth += w * t[s]
                transmittance -= w
            out[r, 0], out[r, 1], out[r, 2] = red, green, blue
            out[r, 3], out[r, 4], out[r, 5] = 1.0 - transmittance, depth, 2.0 * pairs + step / 3.0 * squares
            passed, s = 0.0, offsets[r]
            while s < offsets[r + 1] and transmittance < 1.0:
                passed += weights[s]
                if passed >= share * (1.0 - transmittance):
                    out[r, 6] = t[s]
                    break
                s += 1
    return out, weights


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def _backward(
    color: np.ndarray,
    t: np.ndarray,
    offsets: np.ndarray,
    rays: np.ndarray,
    weights: np.ndarray,
    v: np.ndarray,
    step: float,
    stop: float,
) -> tuple:
    v_density = np.zeros(len(t), np.float32)
    v_color = np.zeros((len(t), 3), np.float32)
    n = len(rays)
    for block in numba.prange((n + 63) // 64):
        for r in range(block * 64, min(block * 64 + 64, n)):
            v0, v1, v2, v3, v4, v5 = v[r, 0], v[r, 1], v[r, 2], v[r, 3], v[r, 4], v[r, 5]
            if v0 == 0 and v1 == 0 and v2 == 0 and v3 == 0 and v4 == 0 and v5 == 0:
                continue
            alpha, depth = np.float64(rays[r, 3]), np.float64(rays[r, 4])
            behind = v3 * alpha + v4 * depth + v5 * 2.0 * rays[r, 5]
            behind += v0 * np.float64(rays[r, 0]) + v1 * np.float64(rays[r, 1]) + v2 * np.float64(rays[r, 2])
            transmittance, moment = 1.0, 0.0  # moment: sum of w t in front of the sample
            for s in range(offsets[r], offsets[r + 1]):
                if transmittance < stop:
                    break
                w = np.float64(weights[s])
                passed = 1.0 - transmittance
                # d distortion / d w_k: twice the mean distance to the mass in front and behind
                rest, rest_moment = alpha - passed - w, depth - moment - w * t[s]
                spread = 2.0 * (t[s] * (passed - rest) - moment + rest_moment) + 2.0 / 3.0 * step * w
                g = v0 * color[s, 0] + v1 * color[s, 1] + v2 * color[s, 2] + v3 + v4 * t[s] + v5 * spread
                transmittance -= w
                moment += w * t[s]
                behind -= w * g
                v_density[s] = step * (transmittance * g - behind)
                v_color[s, 0], v_color[s, 1], v_color[s, 2] = w * v0, w * v1, w * v2
    return v_density, v_color
