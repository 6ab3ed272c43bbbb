"""What part Gaussians are trained by (Hertz et al. 2022, section 4): nobody tells where the parts are."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from distill3d.parts.gaussians import PartGaussians
from distill3d.parts.network import PartNetwork

ROTATION, SCALE, SHIFT = 0.3, 0.2, 0.3  # of the random moves: radians, relative, world units (published defaults)


def mixture_loss(gaussians: PartGaussians, inside: Tensor) -> Tensor:
    """Negative log-likelihood of points drawn evenly from the solid, [B, M, 3]: a scalar."""
    return -gaussians.log_likelihood(inside).mean()


def occupancy_loss(logits: Tensor, filled: Tensor) -> Tensor:
    """Binary cross-entropy of occupancy logits [B, N] against `filled` [B, N], bool or 0..1: a scalar."""
    return functional.binary_cross_entropy_with_logits(logits, filled.to(logits))


def disentanglement_loss(
    network: PartNetwork, intrinsics: Tensor, gaussians: PartGaussians, cells: Tensor, points: Tensor, seed: int
) -> Tensor:
    """A random affine move of some of the parts has to move what they hold, and nothing else: a scalar.

    A point of the moved shape is solid where the point that it came from was solid and belonged to a part that makes
    the same move: for the moved parts and for those that stayed.

    Args:
        cells: the shapes, [B, n, n, n], filled share 0..1.
        points: where to ask, [B, N, 3].
    """
    generator = torch.Generator().manual_seed(seed)
    batch, parts = gaussians.logits.shape
    rotation, scale, shift = random_moves(batch, generator)
    chosen = random_subsets(batch, parts, generator)
    gaussians = PartGaussians(*(v.detach() for v in vars(gaussians).values()))
    with torch.no_grad():
        back = torch.einsum("bij,bni->bnj", rotation, points - shift[:, None]) / scale[:, None, None]
        stayed = _held(gaussians, cells, points, ~chosen)
        came = _held(gaussians, cells, back, chosen)
    moved = gaussians.moved(rotation, scale, shift, chosen)
    return occupancy_loss(network.logits(intrinsics, moved, points), torch.maximum(stayed, came))


def random_moves(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Rotations [B, 3, 3], scales [B] and shifts [B, 3] of the sizes above."""
    axis = functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    angle = ROTATION * (2 * torch.rand(count, generator=generator) - 1)
    scale = 1 + SCALE * (2 * torch.rand(count, generator=generator) - 1)
    shift = SHIFT * (2 * torch.rand(count, 3, generator=generator) - 1)
    return rotation_about(axis, angle), scale, shift


def rotation_about(axis: Tensor, angle: Tensor) -> Tensor:
    """Rotations [..., 3, 3] by `angle` [...] radians about unit `axis` [..., 3] (Rodrigues)."""
    zero = torch.zeros_like(angle)
    x, y, z = axis.unbind(-1)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    sine, cosine = angle.sin()[..., None, None], angle.cos()[..., None, None]
    return torch.eye(3).to(cross) + sine * cross + (1 - cosine) * cross @ cross


def random_subsets(count: int, parts: int, generator: torch.Generator) -> Tensor:
    """Some parts of each shape, a quarter to three quarters of them, [B, P] bool (4 to 12 of 16, as published)."""
    share = 0.25 + 0.5 * torch.rand(count, 1, generator=generator)
    rank = torch.rand(count, parts, generator=generator).argsort(-1).argsort(-1)
    return rank < (share * parts).round().clamp(1, max(1, parts - 1))


def _held(gaussians: PartGaussians, cells: Tensor, points: Tensor, chosen: Tensor) -> Tensor:
    """Filled share of `cells` [B, N] at points [B, N, 3] that belong to one of the `chosen` [B, P] parts, else 0."""
    return filled_at(cells, points) * chosen.gather(1, gaussians.assign(points)).to(cells)


def filled_at(cells: Tensor, points: Tensor) -> Tensor:
    """The grid `cells` [B, n, n, n] over [-1, 1]^3, indexed [x, y, z], read at points [B, N, 3]; 0 outside: [B, N]."""
    read = functional.grid_sample(cells[:, None], points.flip(-1)[:, None, None], align_corners=False)
    return read[:, 0, 0, 0]
