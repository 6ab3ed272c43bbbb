"""Penalties on a rendering that keep a distilled volume solid: pure functions, each a scalar to be weighted."""

from __future__ import annotations

import torch
from torch import Tensor


def orientation(normal: Tensor, directions: Tensor, alpha: Tensor) -> Tensor:
    """Penalty on surfaces that face away from the camera that sees them (Ref-NeRF, Verbin et al. 2022, eq. 11).

    sum sg(alpha) max(0, n . d)^2 / number of pixels with alpha > 0. One normal a ray, at its expected surface, stands
    for the per-sample normals of the paper: sg(alpha) is then the sum of the weights.

    Args:
        normal: [B, H, W, 3], unit or zero; directions: [B, H, W, 3], unit, from the camera; alpha: [B, H, W, 1].
    """
    weight = alpha.detach()[..., 0]
    away = (normal * directions).sum(-1).clamp(min=0)
    return (weight * away.square()).sum() / (weight > 0).sum().clamp(min=1)


def sparsity(alpha: Tensor) -> Tensor:
    """mean sqrt(alpha^2 + 0.01): draws pixels towards empty, and does not push those that are nearly there."""
    return (alpha.square() + 0.01).sqrt().mean()


def opacity_entropy(alpha: Tensor) -> Tensor:
    """Mean binary entropy of alpha, clamped to [1e-3, 1 - 1e-3]: draws pixels towards empty or opaque."""
    o = alpha.clamp(1e-3, 1 - 1e-3)
    return -(o * o.log() + (1 - o) * (1 - o).log()).mean()


def distortion(distortion_map: Tensor) -> Tensor:
    """Mean over the rays of the distortion (Mip-NeRF 360 eq. 15) that the renderer put in `extras["distortion"]`."""
    return torch.mean(distortion_map)
