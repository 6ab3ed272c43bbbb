"""Depth pictures to a surface: a truncated signed distance averaged over views (Curless and Levoy 1996).

Each picture says for every voxel how far in front of the seen surface it lies, along the ray. The mean over pictures,
truncated, changes its sign at the surface. Voxels far behind a surface say nothing; where a picture shows no surface,
its rays are free space for as long as they run. The surface comes out about a tenth of a voxel inside the true one:
rays that graze it call voxels in front of it farther than they are, and say nothing of those far behind.
"""

from __future__ import annotations

import numba
import numpy as np

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.geometry.iso_surface import iso_surface

MOST_VOXELS = 512  # along a side
TRUNCATION = 3.0  # voxels


class DepthFusion:
    """Collects depth pictures into a grid over [-1, 1]^3.

    Args:
        resolution: voxels along each side, 8 to 512; memory is 8 bytes a voxel (1 GiB at 512).
    """

    def __init__(self, resolution: int) -> None:
        if not 8 <= resolution <= MOST_VOXELS:
            raise UserError(f"depth fusion wants 8 to {MOST_VOXELS} voxels along a side, not {resolution}")
        self.resolution = resolution
        self.distance = np.zeros((resolution,) * 3, np.float32)  # sum, in units of the truncation
        self.weight = np.zeros((resolution,) * 3, np.float32)

    @property
    def voxel(self) -> float:
        """World units along a side."""
        return 2.0 / (self.resolution - 1)

    def add(self, depth: np.ndarray, alpha: np.ndarray, cameras: Cameras, opaque: float = 0.5) -> None:
        """Puts pictures in.

        Args:
            depth: [B, H, W], world units along the ray. alpha: [B, H, W] in 0..1; below `opaque` a pixel sees nothing.
            cameras: B pinholes.
        """
        rotation = cameras.camera_to_world[:, :3, :3].detach().cpu().double().numpy()
        position = cameras.position.detach().cpu().double().numpy()
        intrinsics = cameras.intrinsics.detach().cpu().double().numpy()
        for b in range(len(cameras)):
            k = intrinsics[b]
            _integrate(
                np.ascontiguousarray(depth[b], np.float32),
                np.ascontiguousarray(alpha[b] >= opaque),
                np.ascontiguousarray(rotation[b]),
                np.ascontiguousarray(position[b]),
                (k[0, 0], k[1, 1], k[0, 2], k[1, 2]),
                TRUNCATION * self.voxel,
                self.distance,
                self.weight,
            )

    def surface(self, name: str = "asset") -> Mesh:
        """The zero level of the mean distance. What no picture says anything about is inside, a closed solid, if it
        lies in the unit ball, which every picture should show whole; else outside.

        Raises:
            UserError: the pictures agree on no surface.
        """
        axis = np.square(np.linspace(-1.0, 1.0, self.resolution, dtype=np.float32))
        in_ball = axis[:, None, None] + axis[:, None] + axis <= 1.0
        unseen = np.where(in_ball, np.float32(-1.0), np.float32(1.0))
        mean = np.where(self.weight > 0, self.distance / np.maximum(self.weight, np.float32(1e-6)), unseen)
        try:
            return iso_surface(-mean, 0.0, name)
        except UserError as error:
            raise UserError(f"the depth pictures show no surface: {error}") from error


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def _integrate(
    depth: np.ndarray,
    hit: np.ndarray,
    rotation: np.ndarray,
    position: np.ndarray,
    lens: tuple,
    truncation: float,
    distance: np.ndarray,
    weight: np.ndarray,
) -> None:
    n, (height, width) = distance.shape[0], depth.shape
    fx, fy, cx, cy = lens
    for i in numba.prange(n):
        for j in range(n):
            for k in range(n):
                x = 2.0 * i / (n - 1) - 1.0 - position[0]
                y = 2.0 * j / (n - 1) - 1.0 - position[1]
                z = 2.0 * k / (n - 1) - 1.0 - position[2]
                forward = -(rotation[0, 2] * x + rotation[1, 2] * y + rotation[2, 2] * z)
                if forward <= 1e-6:
                    continue
                right = rotation[0, 0] * x + rotation[1, 0] * y + rotation[2, 0] * z
                up = rotation[0, 1] * x + rotation[1, 1] * y + rotation[2, 1] * z
                u, v = fx * right / forward + cx, cy - fy * up / forward
                if not (0 <= u < width and 0 <= v < height):
                    continue
                row, column = int(v), int(u)
                if not hit[row, column]:
                    distance[i, j, k] += 1.0
                    weight[i, j, k] += 1.0
                    continue
                ahead = (depth[row, column] - np.sqrt(x * x + y * y + z * z)) / truncation
                if ahead < -1.0:
                    continue
                distance[i, j, k] += min(ahead, 1.0)
                weight[i, j, k] += 1.0
