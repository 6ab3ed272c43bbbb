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

from distill3d.kernels import cuda_libraries
from distill3d.kernels.compositing_cuda import composite_packed
from distill3d.kernels.compositing_torch import SURFACE
from distill3d.kernels.simd import (
    float_i8,
    floor_at_f8,
    fma_f8,
    load_f8,
    splat_f8,
    store_f8,
    truncate_f8,
    two_to_i8,
)


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
        _forward(*(a.numpy() for a in arrays), step, stop, SURFACE)
        ctx.save_for_backward(color, t, offsets, rgb, alpha, depth, distortion, weights, ends)
        ctx.step = step
        ctx.mark_non_differentiable(weights, surface)
        ctx.set_materialize_grads(False)
        return rgb, alpha, depth, distortion, weights, surface

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        absent = torch.zeros(0, 3), *torch.zeros(3, 0)
        given = (a if g is None else g.float().contiguous() for g, a in zip(grads[:4], absent, strict=True))
        v_density, v_color = torch.empty(len(saved[1])), torch.empty(len(saved[1]), 3)
        _backward(*(a.numpy() for a in (*saved, *given, v_density, v_color)), ctx.step)
        return v_density, v_color, None, None, None, None


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _opacities(density, first, count, step, out):  # type: ignore[no-untyped-def]
    """1 - exp(-density step) of `count` samples from `first` (whole vectors of eight are read), relative to 2e-7.

    exp(-x) = 2^k exp(r), |r| <= log(2) / 2, and exp(r) - 1 is a polynomial without a constant: small opacities keep
    their digits.
    """
    scale, most = splat_f8(np.float32(-step)), splat_f8(np.float32(-87.0))
    per_log2, half = splat_f8(np.float32(1.4426950408889634)), splat_f8(np.float32(0.5))
    high, low = splat_f8(np.float32(-0.693359375)), splat_f8(np.float32(2.12194440e-4))
    one = splat_f8(np.float32(1))
    for lane in range(0, count, 8):
        x = floor_at_f8(most, load_f8(density, first + lane) * scale)  # NaN stays NaN
        whole = truncate_f8(x * per_log2 - half)
        k = float_i8(whole)
        r = fma_f8(k, low, fma_f8(k, high, x))
        p = fma_f8(splat_f8(np.float32(1 / 5040)), r, splat_f8(np.float32(1 / 720)))
        p = fma_f8(p, r, splat_f8(np.float32(1 / 120)))
        p = fma_f8(p, r, splat_f8(np.float32(1 / 24)))
        p = fma_f8(p, r, splat_f8(np.float32(1 / 6)))
        p = fma_f8(fma_f8(p, r, half) * r, r, r)  # exp(r) - 1
        power = two_to_i8(whole)
        store_f8(out, lane, (one - power) - p * power)


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def _forward(density, color, t, offsets, rgb, alpha, depth, distortion, weights, surface, ends, step, stop, share):  # type: ignore[no-untyped-def]
    """Fills the arrays from `rgb` on; `ends` [R] are the samples at which the rays stopped.

    The running sums are in double: a ray has hundreds of small weights, and it costs nothing.
    """
    rays, total = len(alpha), len(t)
    blocks = (rays + 63) // 64
    for block in numba.prange(blocks):
        opacity, tail = np.empty(16, np.float32), np.zeros(16, np.float32)
        for r in range(block * 64, min(block * 64 + 64, rays)):
            first, end = offsets[r], offsets[r + 1]
            transmittance, red, green, blue, far, pairs, squares = 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            s = first
            while s < end and transmittance >= stop:
                if s + 16 <= total:
                    _opacities(density, s, 16, step, opacity)
                else:
                    tail[: total - s] = density[s:]
                    _opacities(tail, 0, 16, step, opacity)
                for q in range(min(16, end - s)):
                    if transmittance < stop:
                        break
                    w = transmittance * opacity[q]
                    weights[s] = w
                    pairs += w * (t[s] * (1.0 - transmittance) - far)
                    squares += w * w
                    red += w * color[s, 0]
                    green += w * color[s, 1]
                    blue += w * color[s, 2]
                    far += w * t[s]
                    transmittance -= w
                    s += 1
            ends[r] = s
            weights[s:end] = 0
            rgb[r, 0], rgb[r, 1], rgb[r, 2] = red, green, blue
            alpha[r], depth[r] = 1.0 - transmittance, far
            distortion[r] = 2.0 * pairs + step / 3.0 * squares
            surface[r], passed = 0.0, 0.0
            for k in range(first, s if transmittance < 1.0 else first):
                passed += weights[k]
                if passed >= share * (1.0 - transmittance):
                    surface[r] = t[k]
                    break


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def _backward(  # type: ignore[no-untyped-def]
    color,
    t,
    offsets,
    rgb,
    alpha,
    depth,
    distortion,
    weights,
    ends,
    v_rgb,
    v_alpha,
    v_depth,
    v_distortion,
    v_density,
    v_color,
    step,
):
    """Fills v_density and v_color; a gradient that did not arrive has no rows."""
    rays = len(alpha)
    for block in numba.prange((rays + 63) // 64):
        for r in range(block * 64, min(block * 64 + 64, rays)):
            v0 = v1 = v2 = v3 = v4 = v5 = 0.0
            if len(v_rgb):
                v0, v1, v2 = v_rgb[r, 0], v_rgb[r, 1], v_rgb[r, 2]
            if len(v_alpha):
                v3 = v_alpha[r]
            if len(v_depth):
                v4 = v_depth[r]
            if len(v_distortion):
                v5 = 2.0 * v_distortion[r]
            all_mass, all_moment = np.float64(alpha[r]), np.float64(depth[r])
            behind = v0 * rgb[r, 0] + v1 * rgb[r, 1] + v2 * rgb[r, 2] + v3 * all_mass + v4 * all_moment
            behind += v5 * distortion[r]
            red, green, blue = np.float32(v0), np.float32(v1), np.float32(v2)
            passed, moment = 0.0, 0.0  # sums of w and w t in front of the sample
            for s in range(offsets[r], ends[r]):
                w = np.float64(weights[s])
                at = w * t[s]
                # half of d distortion / d w_k: the mean distance to the mass in front and behind
                spread = t[s] * (2.0 * passed + w - all_mass) - 2.0 * moment - at + all_moment + step / 3.0 * w
                g = v0 * color[s, 0] + v1 * color[s, 1] + v2 * color[s, 2] + v3 + v4 * t[s] + v5 * spread
                passed += w
                moment += at
                behind -= w * g
                v_density[s] = step * ((1.0 - passed) * g - behind)
                v_color[s, 0], v_color[s, 1], v_color[s, 2] = weights[s] * red, weights[s] * green, weights[s] * blue
            v_density[ends[r] : offsets[r + 1]] = 0
            v_color[ends[r] : offsets[r + 1]] = 0
