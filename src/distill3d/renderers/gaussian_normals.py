"""Normals of a surface that is known by its depth alone."""

from __future__ import annotations

import torch
from torch import Tensor


def depth_normals(points: Tensor, hit: Tensor, to_camera: Tensor) -> Tensor:
    """Unit normals of the surface through the points that neighbouring pixels see.

    Across each axis of the picture the difference of the two neighbours is taken, or of the pixel and its only
    neighbour on the surface; where there is none the pixel is taken to face the camera.

    Args:
        points: [B, H, W, 3], world; hit: [B, H, W] bool, where they mean something; to_camera: [B, H, W, 3], unit.

    Returns:
        [B, H, W, 3], turned to the camera, 0 where not hit; differentiable with respect to the points.
    """
    across, has_x = _difference(points, hit, 2)
    down, has_y = _difference(points, hit, 1)
    normal = torch.linalg.cross(down, across)  # rows grow downwards
    normal = torch.where((has_x & has_y & hit)[..., None], normal, to_camera)
    normal = torch.nn.functional.normalize(normal, dim=-1, eps=1e-12)
    facing = (normal * to_camera).sum(-1, keepdim=True)
    normal = torch.where(facing < 0, -normal, normal)
    return normal * hit[..., None]


def _difference(points: Tensor, hit: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The difference along an axis of the picture, and where there is one."""
    before, after = points.roll(1, axis), points.roll(-1, axis)
    has_before, has_after = hit.roll(1, axis).clone(), hit.roll(-1, axis).clone()
    has_before.select(axis, 0).fill_(False)
    has_after.select(axis, -1).fill_(False)
    low = torch.where(has_before[..., None], before, points)
    high = torch.where(has_after[..., None], after, points)
    return high - low, has_before | has_after
