"""Which triangle every pixel sees: a z-buffer without clipping.

The edge functions are those of Olano and Greer (1997), "Triangle scan conversion using 2D homogeneous coordinates":
a triangle with corners p0, p1, p2 in camera space meets the pixel's ray d where all of w0 = d.(p1 x p2),
w1 = d.(p2 x p0), w2 = d.(p0 x p1) have one sign; w / sum(w) are perspective-correct barycentrics and
p0.(p1 x p2) / sum(w) is the depth. Triangles that cross the camera's plane need no clipping.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from distill3d.core.cameras import Cameras

BAND = 8  # rows of pixels that one thread fills at a time


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
    vertices = np.ascontiguousarray(vertices, np.float64)
    faces = np.ascontiguousarray(faces, np.int32)
    if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise ValueError(f"faces point outside the {len(vertices)} vertices")
    shape = (len(cameras), cameras.height, cameras.width)
    triangle = np.full(shape, -1, np.int32)
    barycentrics = np.zeros((*shape, 3), np.float32)
    depth = np.zeros(shape, np.float32)
    front = np.zeros(shape, np.bool_)
    poses = cameras.camera_to_world.detach().cpu().numpy().astype(np.float64)
    intrinsics = cameras.intrinsics.detach().cpu().numpy().astype(np.float64)
    for b in range(shape[0]):
        # row vectors: (x - c) R is the world-to-camera rotation; z is flipped so that it grows away from the camera
        local = (vertices - poses[b, :3, 3]) @ poses[b, :3, :3]
        local[:, 1:] *= -1.0
        k = intrinsics[b]
        lens = (k[0, 0], k[1, 1], k[0, 2], k[1, 2])
        edges, boxes = _set_up(local, faces, lens, shape[1], shape[2], near)
        _fill(edges, boxes, lens, near, triangle[b], barycentrics[b], depth[b], front[b])
    return Raster(triangle, barycentrics, depth, front)


@numba.njit(parallel=True, cache=True)
def _set_up(
    local: np.ndarray, faces: np.ndarray, lens: tuple, height: int, width: int, near: float
) -> tuple[np.ndarray, np.ndarray]:
    """Edge functions [F, 10] (three normals and the determinant) and pixel boxes [F, 4] (rows, columns; half open)."""
    fx, fy, cx, cy = lens
    edges = np.empty((len(faces), 10))
    boxes = np.zeros((len(faces), 4), np.int32)
    for f in numba.prange(len(faces)):
        in_front = 0
        top, bottom, left, right = np.inf, -np.inf, np.inf, -np.inf
        for k in range(3):
            a, b = local[faces[f, (k + 1) % 3]], local[faces[f, (k + 2) % 3]]
            edges[f, 3 * k] = a[1] * b[2] - a[2] * b[1]
            edges[f, 3 * k + 1] = a[2] * b[0] - a[0] * b[2]
            edges[f, 3 * k + 2] = a[0] * b[1] - a[1] * b[0]
            p = local[faces[f, k]]
            if p[2] > near:
                in_front += 1
                column, row = fx * p[0] / p[2] + cx, fy * p[1] / p[2] + cy
                top, bottom = min(top, row), max(bottom, row)
                left, right = min(left, column), max(right, column)
        p = local[faces[f, 0]]
        determinant = p[0] * edges[f, 0] + p[1] * edges[f, 1] + p[2] * edges[f, 2]
        edges[f, 9] = determinant
        if in_front == 0 or determinant == 0.0:
            continue
        if in_front < 3:  # the projection wraps around: any pixel may be covered
            boxes[f, 1], boxes[f, 3] = height, width
        else:
            boxes[f, 0] = int(min(max(math.ceil(top - 0.5), 0.0), height))
            boxes[f, 1] = int(min(max(math.floor(bottom - 0.5) + 1.0, 0.0), height))
            boxes[f, 2] = int(min(max(math.ceil(left - 0.5), 0.0), width))
            boxes[f, 3] = int(min(max(math.floor(right - 0.5) + 1.0, 0.0), width))
    return edges, boxes


@numba.njit(parallel=True, cache=True)
def _fill(
    edges: np.ndarray,
    boxes: np.ndarray,
    lens: tuple,
    near: float,
    triangle: np.ndarray,
    barycentrics: np.ndarray,
    depth: np.ndarray,
    front: np.ndarray,
) -> None:
    height, width = triangle.shape
    fx, fy, cx, cy = lens
    for band in numba.prange((height + BAND - 1) // BAND):
        first, last = band * BAND, min(height, (band + 1) * BAND)
        nearest = np.full((last - first, width), np.inf)
        for f in range(len(boxes)):
            if boxes[f, 0] >= last or boxes[f, 1] <= first or boxes[f, 2] >= boxes[f, 3]:
                continue
            determinant = edges[f, 9]
            for row in range(max(first, boxes[f, 0]), min(last, boxes[f, 1])):
                y = (row + 0.5 - cy) / fy
                for column in range(boxes[f, 2], boxes[f, 3]):
                    x = (column + 0.5 - cx) / fx
                    w0 = x * edges[f, 0] + y * edges[f, 1] + edges[f, 2]
                    w1 = x * edges[f, 3] + y * edges[f, 4] + edges[f, 5]
                    w2 = x * edges[f, 6] + y * edges[f, 7] + edges[f, 8]
                    if not ((w0 >= 0 and w1 >= 0 and w2 >= 0) or (w0 <= 0 and w1 <= 0 and w2 <= 0)):
                        continue
                    total = w0 + w1 + w2
                    if total == 0.0:
                        continue
                    z = determinant / total
                    if z <= near or z >= nearest[row - first, column]:
                        continue
                    nearest[row - first, column] = z
                    triangle[row, column] = f
                    barycentrics[row, column, 0] = w0 / total
                    barycentrics[row, column, 1] = w1 / total
                    barycentrics[row, column, 2] = w2 / total
                    depth[row, column] = z * math.sqrt(x * x + y * y + 1.0)
                    front[row, column] = determinant < 0.0
