"""Depth fusion of a ball whose depth is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.geometry.depth_fusion import DepthFusion
from distill3d.geometry.iso_surface import signed_volume

RADIUS, CENTER = 0.5, torch.tensor([0.1, -0.2, 0.05])


def ball(cameras: Cameras) -> tuple[np.ndarray, np.ndarray]:
    """depth along the ray and alpha, [B, H, W]."""
    origins, directions = cameras.rays()
    towards = origins - CENTER
    b = (towards * directions).sum(-1)
    inside = b.square() - towards.square().sum(-1) + RADIUS**2
    hit = inside > 0
    return torch.where(hit, -b - inside.clamp(min=0).sqrt(), 0.0).numpy(), hit.float().numpy()


def views(count: int = 20) -> Cameras:
    return Cameras.orbit(torch.arange(count) * 2.4, torch.asin(torch.linspace(-0.9, 0.9, count)), 1.8, 1.25, 192)


def fused(depth: np.ndarray, alpha: np.ndarray, cameras: Cameras) -> tuple[Mesh, float]:
    fusion = DepthFusion(48)
    fusion.add(depth, alpha, cameras)
    return fusion.surface("ball"), fusion.voxel


def off_the_ball(mesh: Mesh) -> np.ndarray:
    return np.abs(np.linalg.norm(mesh.vertices - CENTER.numpy(), axis=1) - RADIUS)


def test_a_ball_comes_back_to_half_a_voxel() -> None:
    cameras = views()
    mesh, voxel = fused(*ball(cameras), cameras)
    assert off_the_ball(mesh).mean() < 0.2 * voxel
    assert off_the_ball(mesh).max() < 0.5 * voxel
    assert signed_volume(mesh) == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.03)
    assert mesh.name == "ball"


def test_depth_along_the_axis_would_be_another_ball() -> None:
    """Negative control: depth along the optical axis is not what is wanted, and gives too large a ball. The right depth
    gives one a little too small: grazing rays call voxels in front of the surface farther than they are."""
    cameras = views()
    depth, alpha = ball(cameras)
    _, directions = cameras.rays()
    cosine = -(directions * cameras.camera_to_world[:, None, None, :3, 2]).sum(-1)
    truth = 4 / 3 * np.pi * RADIUS**3
    assert signed_volume(fused(depth, alpha, cameras)[0]) < 0.99 * truth
    assert signed_volume(fused(depth * cosine.numpy(), alpha, cameras)[0]) > 1.01 * truth


def test_what_cannot_be() -> None:
    with pytest.raises(UserError, match="voxels along a side, not 4000"):
        DepthFusion(4000)
    fusion, cameras = DepthFusion(16), views(8)
    depth, alpha = ball(cameras)
    fusion.add(depth, 0 * alpha, cameras)
    with pytest.raises(UserError, match="no surface"):
        fusion.surface()
