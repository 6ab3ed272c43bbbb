"""A region, shown: views of a scene as it is, above the same with the region tinted."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.geometry.mask_lifting import OPAQUE, surface_points
from distill3d.geometry.region import Region
from distill3d.renderers import Renderer

TINT = (1.0, 0.1, 0.75)
TINTED = 0.6  # share of the tint
NEAR = 0.02  # world units from a region at which a surface counts as in it: a picture's depth is a mean over samples
GRID = 48  # points along each side of the cube


@torch.no_grad()
def region_picture(renderer: Renderer, region: Region, cameras: Cameras) -> np.ndarray:
    """uint8 [2 H, B W, 3]: the views in a row, and below them the same with what lies in the region tinted."""
    device = next(iter(renderer.parameters())).device
    was_training = renderer.training
    renderer.eval()
    plain, tinted = [], []
    for k in range(len(cameras)):
        camera = cameras[k].to(device)
        drawn = renderer(camera, background=torch.full((3,), 0.5, device=device))
        points = surface_points(drawn.depth, camera)
        held = (region.away(points.reshape(-1, 3)) <= NEAR).view(points.shape[:-1]) & (drawn.alpha[..., 0] > OPAQUE)
        share = TINTED * held[..., None].float() * drawn.alpha
        plain.append(drawn.rgb[0])
        tinted.append(((1 - share) * drawn.rgb + share * torch.tensor(TINT, device=device))[0])
    renderer.train(was_training)
    both = torch.cat([torch.cat(plain, 1), torch.cat(tinted, 1)], 0)
    return (both.clamp(0, 1) * 255).round().byte().cpu().numpy()


def volume_share(region: Region) -> float:
    """The share of the unit ball that a region holds, from points on a grid."""
    axis = (torch.arange(GRID) + 0.5) * (2 / GRID) - 1
    points: Tensor = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).view(-1, 3)
    return float(region.contains(points[points.norm(dim=-1) <= 1]).float().mean())
