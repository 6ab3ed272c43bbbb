"""A mask on one picture, lifted to the part of space that it shows, through depth."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from distill3d.core.cameras import Cameras

OPAQUE = 0.5  # coverage from which a pixel has a surface


def surface_points(depth: Tensor, camera: Cameras) -> Tensor:
    """World points [B, H, W, 3] at `depth` [B, H, W, 1] along the rays of B cameras."""
    origins, directions = camera.rays()
    return origins + depth.to(origins) * directions


def thickness(depth: Tensor, camera: Cameras, back: Tensor) -> Tensor:
    """How far the object reaches behind the surface that a camera sees, front to back, gaps included.

    Args:
        depth: [H, W], along the rays of `camera`, one pinhole; 0 where it sees nothing.
        back: [N, 3], points of the surface that is seen from the other side.
    Returns:
        [H, W], world units; 0 where no point of the back lies behind a pixel.
    """
    places, ahead = camera.project(back)
    height, width = depth.shape
    column, row = places[0].floor().long().unbind(-1)
    there = (ahead[0] > 1e-6) & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    away = (back - camera.position.to(back)).norm(dim=-1)
    far = torch.zeros(height * width, dtype=back.dtype)
    far.scatter_reduce_(0, (row * width + column)[there], away[there], "amax")
    far = max_pool2d(far.view(1, 1, height, width), 3, 1, 1)[0, 0]  # between the points
    return (far - depth.to(far)).clamp(min=0)


def lifted(mask: Tensor, depth: Tensor, behind: Tensor, camera: Cameras, spacing: float) -> Tensor:
    """Points [N, 3] on the rays under a mask, from the surface on.

    Args:
        mask: [H, W] bool, pixels that have a surface. depth: [H, W] of it along the rays of `camera`, one.
        behind: [H, W], how far to go on behind it. spacing: between points on a ray; all in world units.
    """
    origins, directions = (rays[0][mask] for rays in camera.rays())
    near, far = depth[mask], behind[mask]
    count = int(torch.ceil(far.max() / spacing)) + 1
    steps = torch.arange(count) * spacing
    along = near[:, None] + torch.minimum(steps, far[:, None])
    points = origins[:, None] + along[..., None] * directions[:, None]
    return points[steps <= far[:, None] + spacing]
