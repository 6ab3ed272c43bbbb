"""Textures: bilinear and mipmapped lookup, with gradients to the texels and to the place.

A minified texture is read from a pyramid of ever smaller copies (Williams 1983, "Pyramidal parametrics"): each level
is the mean over 2 x 2 of the one before, and between two levels the lookup is linear.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.kernels.interpolate import corners_from, edge_weights, pinhole, ray

SMALLEST = 4  # texels along the shorter side of the last level


def mipmaps(texture: Tensor) -> list[Tensor]:
    """[H, W, C] and its halves, each the 2 x 2 mean of the one before, as long as both sides are even and above 4."""
    levels = [texture]
    while min(levels[-1].shape[:2]) > SMALLEST and all(side % 2 == 0 for side in levels[-1].shape[:2]):
        levels.append(F.avg_pool2d(levels[-1].permute(2, 0, 1)[None], 2)[0].permute(1, 2, 0).contiguous())
    return levels


def sample_mipmaps(levels: list[Tensor], uv: Tensor, level: Tensor) -> Tensor:
    """Trilinear lookup.

    Args:
        levels: of `mipmaps`. uv: [N, 2], (0, 0) at the bottom left, clamped to the texels at the border.
        level: [N], 0 the full texture, 1 its half; clamped to what there is. No gradient.
    Returns:
        [N, C]; gradients to all levels and to uv.
    """
    level = level.detach().clamp(0, len(levels) - 1)
    lower = level.floor().clamp(max=max(len(levels) - 2, 0))
    share = (level - lower)[:, None]
    out = uv.new_zeros(len(uv), levels[0].shape[-1])
    for k, picture in enumerate(levels):
        weight = torch.where(lower == k, 1 - share[:, 0], torch.where(lower == k - 1, share[:, 0], 0.0))
        where = (weight > 0).nonzero()[:, 0]
        if len(where):
            part = weight[where, None] * sample_bilinear(picture, uv[where])
            out = out.index_add(0, where, part)  # each place at most once
    return out


def sample_bilinear(texture: Tensor, uv: Tensor) -> Tensor:
    """`texture` [H, W, C], row 0 at the top, at `uv` [N, 2] -> [N, C].

    Gradients to both, once; to uv none where it is clamped at the border. Agrees with `sample_bilinear_reference` to
    1e-6 of the largest entry in values and 1e-5 in gradients. One thread: its order of adding is fixed.
    """
    if texture.device.type == "cpu" and texture.dtype == uv.dtype == torch.float32:
        return _Bilinear.apply(texture, uv)  # type: ignore[no-untyped-call]
    return sample_bilinear_reference(texture, uv)


def sample_bilinear_reference(texture: Tensor, uv: Tensor) -> Tensor:
    """The same in plain torch."""
    grid = torch.stack([uv[:, 0] * 2 - 1, 1 - uv[:, 1] * 2], -1)[None, None]
    picture = texture.permute(2, 0, 1)[None]
    return F.grid_sample(picture, grid, "bilinear", "border", align_corners=False)[0, :, 0].T


def texture_level(
    uv: Tensor, vertices: Tensor, faces: Tensor, triangle: Tensor, cameras: Cameras, size: tuple[int, int]
) -> Tensor:
    """How minified a texture of `size` (height, width) is at each pixel, as a level of its pyramid.

    log2 of the longer side of a pixel's footprint in texels (as OpenGL's specification, section 8.14), from the exact
    derivatives of the perspective-correct place.

    Args:
        uv: [V, 2]; the others as for `interpolate`.
    Returns:
        [B, H, W] float32, negative where magnified, 0 where nothing is hit. No gradient.
    """
    places, corners = vertices.detach().cpu().float().contiguous(), faces.to("cpu", torch.int32).contiguous()
    out = torch.zeros(triangle.shape)
    scaled = uv.detach().cpu().float() * torch.tensor([size[1], size[0]], dtype=torch.float32)
    seen = triangle.cpu().contiguous()
    _levels(scaled.numpy(), places.numpy(), corners.numpy(), seen.numpy(), *pinhole(cameras), out.numpy())
    return out.to(triangle.device)


class _Bilinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, texture: Tensor, uv: Tensor) -> Tensor:
        texels, places = texture.detach().contiguous(), uv.detach().contiguous()
        ctx.save_for_backward(texels, places)
        out = torch.empty(len(uv), texture.shape[-1])
        _sample(texels.numpy(), places.numpy(), out.numpy())
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        texels, places = ctx.saved_tensors
        to_texels = torch.zeros_like(texels) if ctx.needs_input_grad[0] else torch.zeros(0, 0, 0)
        to_places = torch.zeros_like(places)
        arrays = (texels.numpy(), places.numpy(), gradient.contiguous().numpy(), to_texels.numpy(), to_places.numpy())
        _splat(*arrays, bool(ctx.needs_input_grad[0]))
        return (to_texels if ctx.needs_input_grad[0] else None), to_places


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _locate(u, v, height, width):  # type: ignore[no-untyped-def]
    """Rows and columns of the four texels, the place between them, and whether each axis is free to move."""
    column, row = u * width - np.float32(0.5), (np.float32(1) - v) * height - np.float32(0.5)
    free_x, free_y = 0 < column < width - 1, 0 < row < height - 1
    column = min(max(column, np.float32(0)), np.float32(width - 1))
    row = min(max(row, np.float32(0)), np.float32(height - 1))
    left, top = int(column), int(row)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    return left, right, top, bottom, column - left, row - top, free_x, free_y


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def _sample(texture, uv, out):  # type: ignore[no-untyped-def]
    height, width, channels = texture.shape
    for n in numba.prange(len(uv)):
        left, right, top, bottom, x, y, _, _ = _locate(uv[n, 0], uv[n, 1], height, width)
        for c in range(channels):
            upper = texture[top, left, c] * (1 - x) + texture[top, right, c] * x
            lower = texture[bottom, left, c] * (1 - x) + texture[bottom, right, c] * x
            out[n, c] = upper * (1 - y) + lower * y


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _splat(texture, uv, gradient, to_texture, to_uv, wanted):  # type: ignore[no-untyped-def]
    height, width, channels = texture.shape
    for n in range(len(uv)):
        left, right, top, bottom, x, y, free_x, free_y = _locate(uv[n, 0], uv[n, 1], height, width)
        dx, dy = 0.0, 0.0
        for c in range(channels):
            v = gradient[n, c]
            if wanted:
                to_texture[top, left, c] += v * (1 - x) * (1 - y)
                to_texture[top, right, c] += v * x * (1 - y)
                to_texture[bottom, left, c] += v * (1 - x) * y
                to_texture[bottom, right, c] += v * x * y
            a, b, d, e = (
                texture[top, left, c],
                texture[top, right, c],
                texture[bottom, left, c],
                texture[bottom, right, c],
            )
            dx += v * ((b - a) * (1 - y) + (e - d) * y)
            dy += v * ((d - a) * (1 - x) + (e - b) * x)
        to_uv[n, 0] = dx * width if free_x else 0.0
        to_uv[n, 1] = -dy * height if free_y else 0.0


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def _levels(texels, vertices, faces, triangle, rotations, positions, lenses, out):  # type: ignore[no-untyped-def]
    pictures, height, width = triangle.shape
    for job in numba.prange(pictures * height):
        b, row = job // height, job % height
        p, d, w, step, slopes = np.empty((3, 3)), np.empty(3), np.empty(3), np.empty(3), np.empty(3)
        for column in range(width):
            f = triangle[b, row, column]
            if f < 0:
                continue
            corners_from(vertices, faces[f], positions[b], p)
            ray(rotations[b], lenses[b], row, column, d)
            total = edge_weights(p, d, w)
            longest = 0.0
            for axis in range(2):  # one pixel to the right, one down
                for k in range(3):
                    step[k] = rotations[b, k, axis] / lenses[b, axis] * (1.0 - 2.0 * axis)
                change = edge_weights(p, step, slopes)
                length = 0.0
                for c in range(2):
                    value, slope = 0.0, 0.0
                    for k in range(3):
                        value += w[k] * texels[faces[f, k], c]
                        slope += slopes[k] * texels[faces[f, k], c]
                    length += ((slope - value / total * change) / total) ** 2
                longest = max(longest, length)
            out[b, row, column] = 0.5 * np.log2(max(longest, 1e-12))
