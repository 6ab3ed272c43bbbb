"""Normals of a density field by finite differences at a few points: first derivatives only, so cheap to train."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

TETRAHEDRON = ((1.0, -1.0, -1.0), (-1.0, -1.0, 1.0), (-1.0, 1.0, -1.0), (1.0, 1.0, 1.0))


def density_normals(density: Callable[[Tensor], Tensor], positions: Tensor, eps: float) -> Tensor:
    """Unit vectors along -grad density, from four tetrahedral offsets.

    Each offset's density times the offset, summed, is the gradient up to a factor: the offsets sum to zero and their
    outer products to four times the identity.

    Args:
        density: positions [N, 3] (the cube [-1, 1]^3 is 0..1) -> [N], differentiable with respect to its parameters.
        positions: [N, 3]; no gradient flows to them.
        eps: offset along each axis, world units.

    Returns:
        [N, 3] unit vectors (0 where the density is constant); gradients flow to the field's parameters through the
        four densities.
    """
    offsets = torch.tensor(TETRAHEDRON, dtype=positions.dtype, device=positions.device)
    around = positions.detach()[:, None] + offsets * (0.5 * eps)  # [N, 4, 3]
    values = density(around.reshape(-1, 3)).view(-1, 4)
    return torch.nn.functional.normalize(-values @ offsets, dim=-1, eps=1e-8)
