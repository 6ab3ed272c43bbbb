"""The surface of whatever a renderer shows, from its depth pictures all around."""

from __future__ import annotations

import math

import torch

from distill3d.core.cameras import Cameras
from distill3d.core.mesh import Mesh
from distill3d.geometry.components import remove_floaters
from distill3d.geometry.depth_fusion import DepthFusion
from distill3d.renderers.base import Renderer

VIEWS, DISTANCE, FOV = 48, 3.0, math.radians(42)


@torch.no_grad()
def fused_surface(renderer: Renderer, resolution: int, opaque: float) -> Mesh:
    """Fuses pictures from all around, a pixel to a voxel; loose pieces are removed.

    Args:
        resolution: voxels along each side of [-1, 1]^3. opaque: alpha from which a pixel has a depth.
    Raises:
        UserError: the pictures show no surface.
    """
    turn = torch.arange(VIEWS) * (math.pi * (3 - math.sqrt(5)))  # golden angle: evenly over the sphere
    cameras = Cameras.orbit(turn, torch.asin(torch.linspace(-0.98, 0.98, VIEWS)), DISTANCE, FOV, 2 * resolution)
    device = next((p.device for p in renderer.parameters()), torch.device("cpu"))
    fusion = DepthFusion(resolution)
    training = renderer.training
    renderer.eval()
    try:
        for k in range(VIEWS):
            seen = renderer(cameras[k].to(device), background=torch.zeros(3, device=device))
            fusion.add(seen.depth[..., 0].cpu().numpy(), seen.alpha[..., 0].cpu().numpy(), cameras[k], opaque)
    finally:
        renderer.train(training)
    return remove_floaters(fusion.surface())[0]
