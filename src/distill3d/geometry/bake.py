"""Colours of a field into the texture of a mesh."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, map_coordinates
from torch import Tensor

from distill3d.core.mesh import Mesh
from distill3d.geometry.normals import vertex_normals

Colors = Callable[[Tensor], Tensor]  # points [N, 3] -> rgb [N, 3]


def query_colors(color_at: Colors, points: np.ndarray, chunk: int = 1 << 16) -> np.ndarray:
    """`color_at` at points [N, 3], `chunk` at a time -> [N, 3] float32 in 0..1. No gradient flows."""
    with torch.no_grad():
        parts = [color_at(p).detach().float().cpu() for p in torch.from_numpy(np.float32(points)).split(chunk)]
    return torch.cat(parts).clamp(0.0, 1.0).numpy() if parts else np.zeros((0, 3), np.float32)


def seen_depth(
    mesh: Mesh, density: np.ndarray, slant: float = 1.5, outside: float = 4.0, inside: float = 16.0
) -> np.ndarray:
    """How far below the surface lies what the eye sees.

    Volume rendering shows the mean colour over the first stretch of density, not the colour at one level of it. This
    is the expected depth of a ray that falls along the inward normal, with the weights of volume rendering.

    Args:
        mesh: with vertices in [-1, 1]^3, outward.
        density: [R, R, R] over [-1, 1]^3, per world unit.
        slant: how much longer than the inward normal the way through the density is; 1.5 is the mean over a convex
            object, whose visible points have a mean cosine of 2/3 to the eye.
        outside, inside: where the ray starts above and ends below the surface, in grid steps.
    Returns:
        [V] float64, world units, positive inwards; 0 where the ray meets no density.
    """
    voxel = 2.0 / (density.shape[0] - 1)
    offsets = np.arange(-outside, inside + 0.5, 0.5)
    along = mesh.vertices[:, None] - vertex_normals(mesh.vertices, mesh.faces)[:, None] * (offsets * voxel)[:, None]
    places = ((along + 1.0) / voxel).reshape(-1, 3).T
    values = map_coordinates(density, places, order=1, mode="nearest", prefilter=False).reshape(len(along), -1)
    thickness = values * (0.5 * voxel * slant)
    before = np.cumsum(thickness, axis=1) - thickness
    weights = np.exp(-before) * (1 - np.exp(-thickness))
    total = weights.sum(1)
    return np.where(total > 1e-3, (weights * offsets).sum(1) * voxel / np.maximum(total, 1e-3), 0.0)


def texels(uv: np.ndarray, faces: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The texels whose centres lie in a triangle.

    Args:
        uv: [V, 2], (0, 0) at the bottom left. faces: [F, 3]. size: pixels along each side of the texture.
    Returns:
        pixel [N] (row * size + column, row 0 at the top, each at most once), triangle [N], barycentrics [N, 3].
    """
    place = np.stack([uv[:, 0] * size, (1.0 - uv[:, 1]) * size], -1).astype(np.float64)[faces]  # [F, 3, 2]
    low = np.ceil(place.min(1) - 0.5).clip(0, size).astype(np.int64)
    high = (np.floor(place.max(1) - 0.5) + 1).clip(0, size).astype(np.int64)
    extent = (high - low).clip(0)
    boxes = extent.prod(1)
    owner = np.full(size * size, -1, np.int64)
    weights = np.zeros((size * size, 3), np.float32)
    ends = np.cumsum(boxes)
    start = 0
    while start < len(faces):  # a few million candidate texels at a time
        stop = max(start + 1, int(np.searchsorted(ends, (ends[start - 1] if start else 0) + (1 << 21), "right")))
        face = np.repeat(np.arange(start, stop), boxes[start:stop])
        index = np.arange(len(face)) - np.repeat(ends[start:stop] - boxes[start:stop], boxes[start:stop])
        index += ends[start - 1] if start else 0
        width = extent[face, 0]
        column, row = low[face, 0] + index % width, low[face, 1] + index // width
        a, b, c = place[face, 0], place[face, 1], place[face, 2]
        x, y = column + 0.5, row + 0.5
        w1 = (x - a[:, 0]) * (c[:, 1] - a[:, 1]) - (y - a[:, 1]) * (c[:, 0] - a[:, 0])
        w2 = (b[:, 0] - a[:, 0]) * (y - a[:, 1]) - (b[:, 1] - a[:, 1]) * (x - a[:, 0])
        area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
        with np.errstate(divide="ignore", invalid="ignore"):
            w = np.stack([1 - (w1 + w2) / area, w1 / area, w2 / area], -1)
        inside = (w >= 0).all(-1)
        pixel = (row * size + column)[inside]
        owner[pixel] = face[inside]
        weights[pixel] = w[inside]
        start = stop
    pixel = np.flatnonzero(owner >= 0)
    return pixel, owner[pixel], weights[pixel]


def bake(mesh: Mesh, color_at: Colors, size: int = 1024, depth: np.ndarray | None = None) -> Mesh:
    """Paints a texture by asking a field for its colours on the surface.

    Args:
        mesh: with `uv`.
        color_at: points [N, 3] in the world -> rgb [N, 3].
        size: pixels along each side of the texture.
        depth: [V], how far below each vertex to ask, world units (see `seen_depth`); 0 by default.
    Returns:
        the mesh with its texture [size, size, 3]. Texels outside all charts have the colour of the nearest texel
        inside, so that filtering across a seam, at any mip level, finds no foreign colour.
    """
    if mesh.uv is None:
        raise ValueError("baking needs texture coordinates: unwrap the mesh first")
    places = mesh.vertices
    if depth is not None:
        places = places - vertex_normals(mesh.vertices, mesh.faces) * np.asarray(depth, np.float32)[:, None]
    pixel, triangle, weights = texels(mesh.uv, mesh.faces, size)
    corners = places[mesh.faces[triangle]]
    texture = np.zeros((size * size, 3), np.float32)
    texture[pixel] = query_colors(color_at, np.einsum("nk,nkc->nc", weights, corners))
    empty = np.ones(size * size, bool)
    empty[pixel] = False
    rows, columns = distance_transform_edt(empty.reshape(size, size), return_distances=False, return_indices=True)
    texture = texture.reshape(size, size, 3)[rows, columns]
    return Mesh(mesh.vertices, mesh.faces, mesh.colors, mesh.uv, texture, mesh.face_labels, mesh.name)
