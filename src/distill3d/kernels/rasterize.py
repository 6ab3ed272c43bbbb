"""Which triangle every pixel sees: a z-buffer without clipping. The loops are in `rasterize_numba`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.kernels import rasterize_numba as loops

BAND = 32  # rows of a picture that one thread fills at a time: their z-buffer stays in the second-level cache
CHUNK = 4096  # faces that one thread sorts at a time


@dataclass(frozen=True)
class Raster:
    """What the pixel centres of `B` pictures see.

    Args:
        triangle: [B, H, W] int32, index into the faces, -1 where nothing is hit.
        barycentrics: [B, H, W, 3] float32, weights of the triangle's three corners, perspective-correct; 0 where
            nothing is hit.
        depth: [B, H, W] float32, world units along the ray (not along the optical axis); 0 where nothing is hit.
        front: [B, H, W] bool, True where the triangle's outer (counter-clockwise) side is seen.
    """

    triangle: np.ndarray
    barycentrics: np.ndarray
    depth: np.ndarray
    front: np.ndarray

    def interpolate(self, values: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """`values` [V, C] at the vertices -> [B, H, W, C] float32 at the pixels, 0 where nothing is hit."""
        picture = np.zeros((*self.triangle.shape, values.shape[1]), np.float32)
        hit = self.triangle >= 0
        picture[hit] = np.einsum("pk,pkc->pc", self.barycentrics[hit], values[faces[self.triangle[hit]]])
        return picture


def rasterize(vertices: np.ndarray, faces: np.ndarray, cameras: Cameras, near: float = 1e-4) -> Raster:
    """Rasterises a mesh into the pictures of `cameras`.

    Pixel centres lie at (column + 0.5, row + 0.5). Both sides of a triangle are drawn. Pixels on a shared edge belong
    to at least one of the neighbours, so closed meshes have no cracks; of equally near triangles the first one wins,
    whatever the number of threads.

    Args:
        vertices: [V, 3], world units.
        faces: [F, 3], indices into the vertices.
        cameras: `B` cameras, no distortion; skew is ignored.
        near: hits nearer than this along the optical axis are dropped, world units.
    """
    vertices, faces = np.ascontiguousarray(vertices, np.float64), np.ascontiguousarray(faces, np.int32)
    _check(vertices, faces)
    lenses, points = _projected(vertices, cameras)
    triangle = _filled(points, faces, lenses, cameras, near)
    barycentrics = np.zeros((*triangle.shape, 3), np.float32)
    depth, front = np.zeros(triangle.shape, np.float32), np.zeros(triangle.shape, np.bool_)
    loops.resolve(points, faces, lenses, triangle, barycentrics, depth, front)
    return Raster(triangle, barycentrics, depth, front)


def visible_triangles(vertices: Tensor, faces: Tensor, cameras: Cameras, near: float = 1e-4) -> Tensor:
    """The triangle that each pixel centre sees: [B, H, W] int32, -1 where nothing is hit; no gradient.

    What `rasterize` calls `triangle`, for tensors, with the same conventions. From it and the vertices everything else
    follows, with gradients: see `interpolate` and `antialias`. On CUDA nvdiffrast draws where it is installed, else
    warp casts rays.

    Args:
        vertices: [V, 3], world units. faces: [F, 3], any integers. cameras, near: as for `rasterize`.
    """
    if vertices.device.type == "cuda":
        from distill3d.kernels.rasterize_cuda import visible_triangles_cuda  # its libraries live on CUDA machines only

        return visible_triangles_cuda(vertices.detach(), faces, cameras, near)
    places = np.ascontiguousarray(vertices.detach().numpy(), np.float64)
    corners = np.ascontiguousarray(faces.numpy(), np.int32)
    _check(places, corners)
    lenses, points = _projected(places, cameras)
    return torch.from_numpy(_filled(points, corners, lenses, cameras, near))


def pinhole(cameras: Cameras) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rotations [B, 3, 3] and positions [B, 3] of the cameras in the world, and lenses [B, 4] (fx, fy, cx, cy, pixels);
    float64."""
    poses = cameras.camera_to_world.detach().cpu().numpy().astype(np.float64)
    k = cameras.intrinsics.detach().cpu().numpy().astype(np.float64)
    lenses = np.stack([k[:, 0, 0], k[:, 1, 1], k[:, 0, 2], k[:, 1, 2]], -1)
    return np.ascontiguousarray(poses[:, :3, :3]), np.ascontiguousarray(poses[:, :3, 3]), lenses


def _check(vertices: np.ndarray, faces: np.ndarray) -> None:
    if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise ValueError(f"faces point outside the {len(vertices)} vertices")


def _projected(vertices: np.ndarray, cameras: Cameras) -> tuple[np.ndarray, np.ndarray]:
    """`lenses` and `points` of `rasterize_numba`."""
    rotations, positions, lenses = pinhole(cameras)
    points = np.empty((len(cameras), len(vertices), 5))
    loops.project(vertices, rotations, positions, lenses, points)
    return lenses, points


def _filled(points: np.ndarray, faces: np.ndarray, lenses: np.ndarray, cameras: Cameras, near: float) -> np.ndarray:
    height, width = cameras.height, cameras.width
    triangle = np.full((len(cameras), height, width), -1, np.int32)
    boxes, starts, order = loops.sort_into_bands(points, faces, height, width, BAND, near, CHUNK)
    loops.fill(points, faces, lenses, boxes, starts, order, BAND, near, triangle)
    return triangle
