"""Pictures of a scene with a known surface: a two-coloured ball beside a box, by ray intersection."""

from __future__ import annotations

import torch
from torch import Tensor

from distill3d.core.cameras import Cameras

BALL, RADIUS = torch.tensor([0.0, -0.25, 0.1]), 0.4
LOW, HIGH = torch.tensor([-0.2, 0.2, -0.35]), torch.tensor([0.3, 0.6, 0.15])
RED, YELLOW, BLUE = torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.9, 0.8, 0.1]), torch.tensor([0.1, 0.2, 0.9])


def picture(cameras: Cameras) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """rgb [B, H, W, 3] times alpha, alpha [B, H, W, 1] (0 or 1), depth [B, H, W, 1], normal [B, H, W, 3]."""
    origins, directions = cameras.rays()
    towards = origins - BALL
    b = (towards * directions).sum(-1)
    inside = b.square() - towards.square().sum(-1) + RADIUS**2
    ball = torch.where(inside > 0, -b - inside.clamp(min=0).sqrt(), torch.inf)
    near, far = (LOW - origins) / directions, (HIGH - origins) / directions
    enter, leave = torch.minimum(near, far).max(-1), torch.maximum(near, far).min(-1)
    box = torch.where(enter.values < leave.values, enter.values, torch.inf)
    depth = torch.minimum(ball, box)
    hit = torch.isfinite(depth)
    depth = torch.where(hit, depth, 0.0)
    point = origins + depth[..., None] * directions
    on_ball = torch.where((point[..., 2] > BALL[2])[..., None], RED, YELLOW)
    axis = torch.nn.functional.one_hot(enter.indices, 3) * -directions.sign()
    normal = torch.where((ball < box)[..., None], (point - BALL) / RADIUS, axis)
    rgb = torch.where((ball < box)[..., None], on_ball, BLUE)
    return rgb * hit[..., None], hit[..., None].float(), depth[..., None], normal * hit[..., None]


def smooth_picture(cameras: Cameras) -> tuple[Tensor, Tensor]:
    """rgb [B, H, W, 3] times alpha, and alpha [B, H, W, 1], averaged over 2 x 2 rays a pixel."""
    rgb, alpha, _, _ = picture(cameras.resized((2 * cameras.height, 2 * cameras.width)))
    pixels = torch.cat([rgb, alpha], -1).movedim(-1, 1)
    return torch.nn.functional.avg_pool2d(pixels, 2).movedim(1, -1).split([3, 1], -1)
