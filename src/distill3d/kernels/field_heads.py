"""The last activations of a radiance field, in one pass over memory: density with a blob to start from, and albedo."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

LARGEST_EXPONENT = 15.0  # of the density's exp: 3e6 a unit is opaque in any step
BLOBS = {"none": 0, "magic3d": 1, "dreamfusion": 2}
_COMPILE: dict[str, Any] = {"cache": True, "error_model": "numpy", "nogil": True, "parallel": True}


def field_heads(
    raw: Tensor, positions: Tensor, activation: str, scale: float, blob: str, strength: float, radius: float
) -> tuple[Tensor, Tensor]:
    """Density and albedo from a network's outputs.

    density = scale activation(raw_0 + bias(x)), albedo = sigmoid(raw_1, raw_2, raw_3). The bias is
    strength (1 - |x| / radius) for "magic3d" (Lin et al. 2023, section 4.1), strength exp(-|x|^2 / (2 radius^2)) for
    "dreamfusion" (Poole et al. 2023, appendix A.2), and 0 for "none".

    Args:
        raw: [N, 4]; positions: [N, 3], the cube [-1, 1]^3 mapped to 0..1, without gradient.
        activation: "softplus" or "exp" (its argument at most 15).

    Returns:
        density [N] per world unit, albedo [N, 3]; gradients to raw, once. Agrees with `field_heads_reference` to 1e-6
        relative; the same bits on any number of threads.
    """
    if raw.device.type == "cpu" and raw.dtype == torch.float32:
        return _Heads.apply(raw, positions, activation == "exp", scale, BLOBS[blob], strength, radius)  # type: ignore
    return field_heads_reference(raw, positions, activation, scale, blob, strength, radius)


def field_heads_reference(
    raw: Tensor, positions: Tensor, activation: str, scale: float, blob: str, strength: float, radius: float
) -> tuple[Tensor, Tensor]:
    """The same in plain torch."""
    squared = (2 * positions.detach() - 1).square().sum(-1)
    x = raw[:, 0]
    if blob == "magic3d":
        x = x + strength * (1 - squared.sqrt() / radius)
    elif blob == "dreamfusion":
        x = x + strength * torch.exp(-squared / (2 * radius**2))
    density = torch.exp(x.clamp(max=LARGEST_EXPONENT)) if activation == "exp" else torch.nn.functional.softplus(x)
    return scale * density, torch.sigmoid(raw[:, 1:])


class _Heads(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        raw: Tensor,
        positions: Tensor,
        exponential: bool,
        scale: float,
        blob: int,
        strength: float,
        radius: float,
    ) -> tuple[Tensor, Tensor]:
        density, color = torch.empty(len(raw)), torch.empty(len(raw), 3)
        arrays = (raw.detach().contiguous().numpy(), positions.detach().float().contiguous().numpy())
        heads = (density.numpy(), color.numpy())
        _forward(*arrays, exponential, float(scale), blob, float(strength), float(radius), *heads)
        ctx.exponential, ctx.scale = exponential, float(scale)
        ctx.save_for_backward(density, color)
        return density, color

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, v_density: Tensor, v_color: Tensor) -> tuple[Tensor | None, ...]:
        density, color = ctx.saved_tensors
        to_raw = torch.empty(len(density), 4)
        arrays = (a.contiguous().numpy() for a in (density, color, v_density, v_color, to_raw))
        _backward(*arrays, ctx.exponential, ctx.scale)
        return to_raw, None, None, None, None, None, None


@njit(**_COMPILE)
def _forward(raw, positions, exponential, scale, blob, strength, radius, density, color):  # type: ignore[no-untyped-def]
    count, one = len(raw), np.float32(1)
    falloff = np.float32(-strength / radius if blob == 1 else -0.5 / (radius * radius))
    strength, scale = np.float32(strength), np.float32(scale)
    for block in prange((count + 511) // 512):
        for s in range(block * 512, min(block * 512 + 512, count)):
            x = raw[s, 0]
            if blob:
                a, b, c = positions[s, 0] * 2 - one, positions[s, 1] * 2 - one, positions[s, 2] * 2 - one
                squared = a * a + b * b + c * c
                x += strength + falloff * np.sqrt(squared) if blob == 1 else strength * np.exp(falloff * squared)
            if exponential:
                density[s] = scale * np.exp(min(x, np.float32(LARGEST_EXPONENT)))
            else:
                density[s] = scale * (max(x, np.float32(0)) + np.log1p(np.exp(-abs(x))))
            for k in range(3):
                color[s, k] = one / (one + np.exp(-raw[s, k + 1]))


@njit(**_COMPILE)
def _backward(density, color, v_density, v_color, to_raw, exponential, scale):  # type: ignore[no-untyped-def]
    count, one, scale = len(density), np.float32(1), np.float32(scale)
    most = np.float32(scale * np.float32(np.exp(np.float32(LARGEST_EXPONENT))))
    for block in prange((count + 511) // 512):
        for s in range(block * 512, min(block * 512 + 512, count)):
            d = density[s]
            if exponential:
                slope = d if d < most else np.float32(0)
            else:
                slope = -scale * np.expm1(-d / scale)  # sigmoid(x), by softplus(x) = d / scale
            to_raw[s, 0] = v_density[s] * slope
            for k in range(3):
                c = color[s, k]
                to_raw[s, k + 1] = v_color[s, k] * c * (one - c)
