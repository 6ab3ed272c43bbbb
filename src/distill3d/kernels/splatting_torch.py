"""Gaussian splatting in plain torch: every pixel against every Gaussian. The reference of the kernels, and no faster.

It takes any float type and autograd does its backward, so that gradients can be checked in float64.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from distill3d.kernels.spherical_harmonics import sh_color

DILATION = 0.3  # variance in square pixels that every projected Gaussian is given (3DGS, Kerbl et al. 2023)
NEAR = 0.01  # world units along the optical axis
FAINTEST, FULLEST = 1 / 255, 0.999  # contributions of less alpha are dropped; none has more
STOP = 1e-4  # a pixel is finished by the Gaussian that would leave less of its light than this
MARGIN = 0.3  # share of half the picture by which the Jacobian's place may lie outside


class Projected(NamedTuple):
    """B x N Gaussians on the picture plane: center [B, N, 2] in pixels, covariance [B, N, 2, 2] in square pixels with
    the dilation, depth [B, N] along the optical axis, color [B, N, 3]."""

    center: Tensor
    covariance: Tensor
    depth: Tensor
    color: Tensor


def rotation_of(quats: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] of quaternions [..., 4] (w, x, y, z) of any length but zero."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    rows = [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]
    rows += [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]
    rows += [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]
    return torch.stack(rows, -1).view(*quats.shape[:-1], 3, 3)


def world_to_camera(camera_to_world: Tensor) -> tuple[Tensor, Tensor]:
    """Rotation [B, 3, 3] and shift [B, 3] into axes x right, y down, z forward, from OpenGL poses [B, 4, 4]."""
    flip = torch.tensor([1.0, -1.0, -1.0], dtype=camera_to_world.dtype, device=camera_to_world.device)
    rotation = flip[:, None] * camera_to_world[:, :3, :3].transpose(1, 2)
    return rotation, -(rotation @ camera_to_world[:, :3, 3:])[..., 0]


def project_reference(
    means: Tensor,
    quats: Tensor,
    log_scales: Tensor,
    sh: Tensor,
    degree: int,
    camera_to_world: Tensor,
    intrinsics: Tensor,
    height: int,
    width: int,
) -> Projected:
    """EWA projection (Zwicker et al. 2001; 3DGS, eq. 5): J W S W^T J^T + 0.3 I, J at the centre."""
    rotation, shift = world_to_camera(camera_to_world)
    x, y, z = (torch.einsum("bij,nj->bni", rotation, means) + shift[:, None]).unbind(-1)
    fx, fy, cx, cy = (intrinsics[:, i, j, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    margin_x, margin_y = MARGIN * 0.5 * width / fx, MARGIN * 0.5 * height / fy
    u = torch.clamp(x / z, -cx / fx - margin_x, (width - cx) / fx + margin_x)
    v = torch.clamp(y / z, -cy / fy - margin_y, (height - cy) / fy + margin_y)
    zero = torch.zeros_like(z)
    jacobian = torch.stack([fx / z, zero, -fx * u / z, zero, fy / z, -fy * v / z], -1).view(*z.shape, 2, 3)
    spread = rotation_of(quats) * log_scales.exp()[:, None]
    half = jacobian @ rotation[:, None] @ spread
    covariance = half @ half.transpose(-1, -2) + DILATION * torch.eye(2, dtype=z.dtype, device=z.device)
    away = means - camera_to_world[:, None, :3, 3]
    color = sh_color(sh, torch.nn.functional.normalize(away, dim=-1), degree)
    return Projected(torch.stack([fx * x / z + cx, fy * y / z + cy], -1), covariance, z, color)


def composite_reference(
    projected: Projected, logit_opacities: Tensor, height: int, width: int, screen: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Front-to-back compositing: rgb [B, H, W, 3] without background, alpha [B, H, W], sum of w z [B, H, W].

    `screen` [B, N, 2] is added to the centres.
    """
    center, covariance, depth, color = projected
    center = center if screen is None else center + screen
    order = depth.detach().argsort(dim=1, stable=True)
    rows = torch.arange(len(order), device=order.device)[:, None]
    center, covariance, z, color = (a[rows, order] for a in (center, covariance, depth, color))
    opacity = torch.sigmoid(logit_opacities)[order]
    inverse = torch.linalg.inv(covariance)
    v, u = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    away = torch.stack([u, v], -1).to(center)[None, :, :, None] - center[:, None, None]  # [B, H, W, N, 2]
    power = -0.5 * torch.einsum("bhwni,bnij,bhwnj->bhwn", away, inverse, away)
    alpha = (opacity[:, None, None] * power.exp()).clamp(max=FULLEST)
    alpha = alpha * ((alpha >= FAINTEST) & (z > NEAR)[:, None, None])
    after = torch.cumprod(1 - alpha, -1)
    alpha = alpha * (after > STOP)  # what comes behind the first that fails has even less light, so it fails too
    before = torch.cumprod(torch.cat([torch.ones_like(alpha[..., :1]), 1 - alpha[..., :-1]], -1), -1)
    weights = alpha * before
    rgb = torch.einsum("bhwn,bnc->bhwc", weights, color)
    return rgb, weights.sum(-1), torch.einsum("bhwn,bn->bhw", weights, z)
