"""The last activations of a radiance field that depends on the view: density, and colour by spherical harmonics.

As in PlenOctrees (Yu et al. 2021, section 3.2) the network gives the coefficients and does not see the direction, so
one evaluation of it holds the colour for all directions, and the constant one is the albedo that a mesh can show.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

LARGEST_EXPONENT = 15.0  # of the density's exp: 3e6 a unit is opaque in any step
_COMPILE: dict[str, Any] = {"cache": True, "error_model": "numpy", "nogil": True, "parallel": True}


def direction_basis(directions: Tensor, degree: int) -> Tensor:
    """Real spherical harmonics up to `degree` (0 to 2), divided by the constant one, which is therefore 1.

    Args:
        directions: [R, 3], unit.
    Returns:
        [R, (degree + 1)^2].
    """
    x, y, z = directions.unbind(-1)
    columns = [torch.ones_like(x)]
    if degree >= 1:
        columns += [3**0.5 * y, 3**0.5 * z, 3**0.5 * x]
    if degree >= 2:
        columns += [15**0.5 * x * y, 15**0.5 * y * z, 5**0.5 / 2 * (3 * z * z - 1)]
        columns += [15**0.5 * x * z, 15**0.5 / 2 * (x * x - y * y)]
    return torch.stack(columns, -1)


def view_heads(raw: Tensor, basis: Tensor, offsets: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Density and colour from a network's outputs.

    density = scale exp(min(raw_0, 15)); colour_c = sigmoid(sum_k basis_k(direction) raw_{1 + 3 k + c}).

    Args:
        raw: [N, 1 + 3 K], packed samples; basis: [R, K] of each ray's direction, without gradient.
        offsets: [R + 1] int64, the samples of ray r are `offsets[r]:offsets[r + 1]`.

    Returns:
        density [N] per world unit, colour [N, 3]; gradients to raw, once. Agrees with `view_heads_reference` to 2e-6
        relative; the same bits on any number of threads.
    """
    if raw.device.type == "cpu" and raw.dtype == torch.float32:
        return _Heads.apply(raw, basis, offsets, float(scale))  # type: ignore[no-untyped-call]
    return view_heads_reference(raw, basis, offsets, scale)


def view_heads_reference(raw: Tensor, basis: Tensor, offsets: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """The same in plain torch."""
    counts = offsets[1:] - offsets[:-1]
    index = torch.repeat_interleave(torch.arange(len(counts), device=raw.device), counts)
    coefficients = raw[:, 1:].view(len(raw), -1, 3)
    color = torch.sigmoid((basis.to(raw)[index][..., None] * coefficients).sum(1))
    return scale * torch.exp(raw[:, 0].clamp(max=LARGEST_EXPONENT)), color


class _Heads(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, raw: Tensor, basis: Tensor, offsets: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        density, color = torch.empty(len(raw)), torch.empty(len(raw), 3)
        basis = basis.detach().float().contiguous()
        _forward(
            raw.detach().contiguous().numpy(), basis.numpy(), offsets.numpy(), scale, density.numpy(), color.numpy()
        )
        ctx.scale, ctx.width = scale, raw.shape[1]
        ctx.save_for_backward(density, color, basis, offsets)
        return density, color

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, v_density: Tensor, v_color: Tensor) -> tuple[Tensor | None, ...]:
        density, color, basis, offsets = ctx.saved_tensors
        to_raw = torch.empty(len(density), ctx.width)
        arrays = (a.contiguous().numpy() for a in (density, color, basis, offsets, v_density, v_color, to_raw))
        _backward(*arrays, ctx.scale)
        return to_raw, None, None, None


@njit(**_COMPILE)
def _forward(raw, basis, offsets, scale, density, color):  # type: ignore[no-untyped-def]
    rays, terms = basis.shape
    one, most, scale = np.float32(1), np.float32(LARGEST_EXPONENT), np.float32(scale)
    for block in prange((rays + 63) // 64):
        for r in range(block * 64, min(block * 64 + 64, rays)):
            for s in range(offsets[r], offsets[r + 1]):
                density[s] = scale * np.exp(min(raw[s, 0], most))
                red, green, blue = np.float32(0), np.float32(0), np.float32(0)
                for k in range(terms):
                    b = basis[r, k]
                    red += b * raw[s, 1 + 3 * k]
                    green += b * raw[s, 2 + 3 * k]
                    blue += b * raw[s, 3 + 3 * k]
                color[s, 0] = one / (one + np.exp(-red))
                color[s, 1] = one / (one + np.exp(-green))
                color[s, 2] = one / (one + np.exp(-blue))


@njit(**_COMPILE)
def _backward(density, color, basis, offsets, v_density, v_color, to_raw, scale):  # type: ignore[no-untyped-def]
    rays, terms = basis.shape
    one = np.float32(1)
    most = np.float32(scale * np.exp(LARGEST_EXPONENT)) * np.float32(1 - 1e-6)
    for block in prange((rays + 63) // 64):
        for r in range(block * 64, min(block * 64 + 64, rays)):
            for s in range(offsets[r], offsets[r + 1]):
                to_raw[s, 0] = v_density[s] * density[s] if density[s] < most else np.float32(0)
                red = v_color[s, 0] * color[s, 0] * (one - color[s, 0])
                green = v_color[s, 1] * color[s, 1] * (one - color[s, 1])
                blue = v_color[s, 2] * color[s, 2] * (one - color[s, 2])
                for k in range(terms):
                    b = basis[r, k]
                    to_raw[s, 1 + 3 * k] = b * red
                    to_raw[s, 2 + 3 * k] = b * green
                    to_raw[s, 3 + 3 * k] = b * blue
