"""Gaussian splatting (Kerbl et al. 2023), forward and backward: numba kernels on the CPU, gsplat on CUDA."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.kernels.spherical_harmonics import degree_of
from distill3d.kernels.splatting_compositing import TILE, composite_tiles, composite_tiles_backward
from distill3d.kernels.splatting_projection import CHUNK, MOMENTS, RECORD, camera_rows, project
from distill3d.kernels.splatting_projection_backward import POSE, pose_gradient, project_backward
from distill3d.kernels.splatting_tiles import TileLists, list_tiles
from distill3d.kernels.splatting_torch import DILATION, NEAR, world_to_camera


class Splatted(NamedTuple):
    """What B cameras see.

    rgb [B, H, W, 3] without a background; alpha [B, H, W]; depth [B, H, W], the sum of w z, with z along the optical
    axis (not divided by alpha, not along the ray); radius [B, N], pixels, the larger half side of what is seen of a
    Gaussian, 0 where it is not seen, without gradient.
    """

    rgb: Tensor
    alpha: Tensor
    depth: Tensor
    radius: Tensor


def splat(
    means: Tensor,
    quats: Tensor,
    log_scales: Tensor,
    logit_opacities: Tensor,
    sh: Tensor,
    camera_to_world: Tensor,
    intrinsics: Tensor,
    height: int,
    width: int,
    degree: int | None = None,
    screen: Tensor | None = None,
) -> Splatted:
    """Pictures of N Gaussians.

    Args:
        means: [N, 3], world units. quats: [N, 4], w x y z, of any length. log_scales: [N, 3].
        logit_opacities: [N]. sh: [N, K, 3] with K = 1, 4, 9 or 16; see `spherical_harmonics.sh_color`.
        camera_to_world: [B, 4, 4], OpenGL axes, rigid. intrinsics: [B, 3, 3], pixels, without skew.
        degree: of the harmonics in use, at most what K reaches, which is the default.
        screen: [B, N, 2] in pixels, added to the projected centres; zeros with requires_grad collect the gradient of
            the screen positions, for density control.

    Returns:
        float32. Gradients flow to everything but the intrinsics, from rgb, alpha and depth.
        On the CPU: agrees with `splatting_torch` in float64 to 1e-5 in rgb and alpha, 5e-5 in depth, and to 1e-4 of
        the largest in gradients (needle-shaped Gaussians: 1e-3 in quaternions), except for contributions within
        rounding of the 1/255 that drops them. The same bits on any number of threads.
        On CUDA: gsplat's kernels with the same constants (0.3 pixels of dilation, near plane 0.01, alpha from 1/255 to
        0.999, stop at 1e-4); expected within 2e-4 in rgb and alpha of the CPU, a few pixels at that threshold apart,
        and 1e-3 of the largest in gradients. gsplat takes no `screen`; its own gradient of the centres is used.
    """
    degree = degree_of(sh.shape[1]) if degree is None else degree
    if degree < 0 or (degree + 1) ** 2 > sh.shape[1]:
        raise ValueError(f"sh has {sh.shape[1]} coefficients; it must be 1, 4, 9 or 16, enough for degree {degree}")
    scene: tuple[Tensor, ...] = (means, quats, log_scales, logit_opacities, sh)
    if means.device.type == "cuda":
        return _splat_gsplat(
            means, quats, log_scales, logit_opacities, sh, camera_to_world, intrinsics, height, width, degree, screen
        )
    missing = 8 - len(means)
    if missing > 0:  # the kernels take eight at a time: fill up with Gaussians that nobody sees
        pad = torch.nn.functional.pad
        rows = (0, 0, 0, missing)
        scene = (
            *(pad(a, rows) for a in scene[:3]),
            pad(logit_opacities, (0, missing), value=-1e4),
            pad(sh, (0, 0, *rows)),
        )
        screen = None if screen is None else pad(screen, rows)
    rgb, alpha, depth, radius = _Splat.apply(*scene, camera_to_world, intrinsics, screen, height, width, degree)
    return Splatted(rgb, alpha, depth, radius[:, : len(means)])


class _Splat(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        means: Tensor,
        quats: Tensor,
        log_scales: Tensor,
        logits: Tensor,
        sh: Tensor,
        camera_to_world: Tensor,
        intrinsics: Tensor,
        screen: Tensor | None,
        height: int,
        width: int,
        degree: int,
    ) -> tuple[Tensor, ...]:
        scene = [a.detach().float().contiguous() for a in (means, quats, log_scales, logits, sh)]
        cameras = camera_rows(camera_to_world, intrinsics, height, width)
        batch, count = len(cameras), len(means)
        records = np.empty((batch * count, RECORD), np.float32)
        moved = np.zeros((0, 0, 0), np.float32)
        if screen is not None and bool((screen != 0).any()):
            moved = screen.detach().float().contiguous().numpy()
        arrays = [a.numpy() for a in scene]
        project(*arrays, degree, cameras, moved, height, width, records)
        lists = list_tiles(records, batch, height, width, TILE)
        rgb = torch.empty(batch, height, width, 3)
        alpha, depth = torch.empty(batch, height, width), torch.empty(batch, height, width)
        composite_tiles(
            records.reshape(-1),
            lists.starts,
            lists.gaussians,
            lists.jobs,
            numba.get_num_threads(),
            TILE,
            rgb.numpy(),
            alpha.numpy(),
            depth.numpy(),
        )
        if any(ctx.needs_input_grad):
            kept = [torch.from_numpy(a) for a in (cameras, records, *lists)]
            ctx.save_for_backward(camera_to_world, *scene, rgb, alpha, depth, *kept)
        ctx.degree, ctx.screen = degree, screen is not None
        ctx.set_materialize_grads(False)
        radius = torch.from_numpy(np.maximum(records[:, 10], records[:, 11]).reshape(batch, count))
        ctx.mark_non_differentiable(radius)
        return rgb, alpha, depth, radius

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        camera_to_world, *scene, rgb, alpha, depth = ctx.saved_tensors[:9]
        cameras, records, *rest = (t.numpy() for t in ctx.saved_tensors[9:])
        lists = TileLists(*rest)
        with_depth = grads[2] is not None
        upstream = [
            torch.zeros_like(picture) if gradient is None else gradient.float().contiguous()
            for picture, gradient in zip((rgb, alpha), grads, strict=False)
        ]
        upstream.append(torch.empty(0, 0, 0) if grads[2] is None else grads[2].float().contiguous())
        moments = np.empty((len(lists.slots), MOMENTS), np.float32)
        composite_tiles_backward(
            records.reshape(-1),
            lists.starts,
            lists.gaussians,
            lists.slots,
            lists.jobs,
            numba.get_num_threads(),
            TILE,
            *(a.numpy() for a in (rgb, alpha, depth, *upstream)),
            with_depth,
            moments,
        )
        batch, count = len(cameras), len(scene[0])
        with_poses = ctx.needs_input_grad[5]
        v_scene = [torch.empty_like(a) for a in scene]
        v_screen = torch.empty((batch, count, 2) if ctx.screen else (0, 0, 0))
        chunks = -(-count // CHUNK) if with_poses else 0
        v_poses = torch.zeros(chunks, batch, POSE, 8)
        project_backward(
            *(a.numpy() for a in scene),
            ctx.degree,
            cameras,
            lists.first_slot,
            moments,
            with_poses,
            *(a.numpy() for a in (*v_scene, v_screen, v_poses)),
        )
        v_pose = None
        if with_poses:
            v_pose = pose_gradient(camera_to_world.double(), v_poses.double().sum((0, 3))).to(camera_to_world.dtype)
        return *v_scene, v_pose, None, v_screen if ctx.screen else None, None, None, None


def _splat_gsplat(
    means: Tensor,
    quats: Tensor,
    log_scales: Tensor,
    logit_opacities: Tensor,
    sh: Tensor,
    camera_to_world: Tensor,
    intrinsics: Tensor,
    height: int,
    width: int,
    degree: int,
    screen: Tensor | None,
) -> Splatted:
    """The same through `gsplat.rasterization` (1.5), which does its projection in one fused kernel."""
    try:
        from gsplat import rasterization
    except ImportError as missing:
        raise UserError("splats on CUDA need gsplat: pip install gsplat; or use device=cpu") from missing
    rotation, shift = world_to_camera(camera_to_world)
    view = torch.eye(4, device=means.device).repeat(len(rotation), 1, 1)
    view = torch.cat([torch.cat([rotation, shift[..., None]], -1), view[:, 3:]], 1)
    colors, alpha, info = rasterization(
        means,
        quats,
        log_scales.exp(),
        torch.sigmoid(logit_opacities),
        sh,
        view,
        intrinsics,
        width,
        height,
        near_plane=NEAR,
        eps2d=DILATION,
        sh_degree=degree,
        packed=False,
        render_mode="RGB+D",
    )
    if screen is not None and screen.requires_grad and info["means2d"].requires_grad:
        info["means2d"].register_hook(lambda gradient: _pass_on(screen, gradient))
    radius = info["radii"].float()
    radius = radius.amax(-1) if radius.dim() == 3 else radius
    return Splatted(colors[..., :3], alpha[..., 0], colors[..., 3], radius)


def _pass_on(screen: Tensor, gradient: Tensor) -> None:
    """Gives a leaf the gradient that it would have had, and calls its hooks."""
    (screen * gradient.detach()).sum().backward()  # type: ignore[no-untyped-call]
