"""Where a capture's world lies in ours, and the way back.

Programs that find camera poses choose origin and scale freely; the renderers want the subject in the unit ball around
the origin. The similarity is kept, so that what is exported stands again where the file had it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import maximum_filter

from distill3d.core.mesh import Mesh

HULL = 48  # grid points along each side of the carved cube
ROUNDS = 2  # of carving, the second in the box of the first
SHOWN = 0.75  # share of the pictures that a point of the hull has to be in
MARGIN = 0.9  # the subject's share of the unit ball's radius


@dataclass(frozen=True)
class Normalization:
    """x_scene = scale * rotation (x_file - center).

    Args:
        rotation: [3, 3]. center: [3], in the file's world. scale: more than 0.
    """

    rotation: np.ndarray
    center: np.ndarray
    scale: float

    @property
    def matrix(self) -> np.ndarray:
        """[4, 4] float64, points of the file's world to the scene's."""
        result = np.eye(4)
        result[:3, :3] = self.scale * self.rotation
        result[:3, 3] = -result[:3, :3] @ self.center
        return result

    @classmethod
    def from_matrix(cls, matrix: np.ndarray) -> Normalization:
        scale = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
        rotation = matrix[:3, :3] / scale
        return cls(rotation, -rotation.T @ matrix[:3, 3] / scale, scale)

    @property
    def inverse(self) -> Normalization:
        """The way back, as another one."""
        return Normalization(self.rotation.T, -self.scale * self.rotation @ self.center, 1 / self.scale)

    def poses(self, poses: np.ndarray) -> np.ndarray:
        """Camera-to-world matrices [F, 4, 4] of the file's world in the scene's; they stay rigid."""
        result = poses.copy()
        result[:, :3, :3] = self.rotation @ poses[:, :3, :3]
        result[:, :3, 3] = self.points(poses[:, :3, 3])
        return result

    def points(self, points: np.ndarray) -> np.ndarray:
        """[N, 3] of the file's world in the scene's."""
        return self.scale * (points - self.center) @ self.rotation.T

    def undo(self, points: np.ndarray) -> np.ndarray:
        """[N, 3] of the scene's world in the file's."""
        return points @ self.rotation / self.scale + self.center

    def undo_mesh(self, mesh: Mesh) -> Mesh:
        """The mesh where the file had the subject."""
        vertices = self.undo(mesh.vertices.astype(np.float64)).astype(mesh.vertices.dtype)
        return replace(mesh, vertices=vertices)


def around_cameras(poses: np.ndarray, upright: bool, radius: float) -> Normalization:
    """The point that all cameras look at goes to the origin, and the farthest camera to `radius` from it.

    Args:
        poses: [F, 4, 4], OpenGL axes. upright: whether the file's world has z up; if not, the cameras' mean up is.
    """
    rotation = np.eye(3) if upright else rotation_to_z(poses[:, :3, 1].mean(0))
    center = focus(poses)
    farthest = np.linalg.norm(poses[:, :3, 3] - center, axis=1).max()
    return Normalization(rotation, center, radius / farthest if farthest > 0 else 1.0)


def around_subject(poses: np.ndarray, intrinsics: np.ndarray, masks: np.ndarray, upright: bool) -> Normalization | None:
    """What the masks of all pictures agree on goes into the unit ball: its visual hull on a coarse grid.

    Args:
        intrinsics: [F, 3, 3], of the masks' size; the lens is left out, the hull is coarse.
        masks: [F, H, W] bool, where the subject is.

    Returns:
        None where the masks have nothing in common, or fill the whole cube between the cameras. Points count that three
        in four pictures show.
    """
    start = around_cameras(poses, upright, 1.0)
    scene = start.poses(poses)
    reach = np.linalg.norm(scene[:, :3, 3], axis=1).min()
    middle, half = np.zeros(3), reach
    for _ in range(ROUNDS):
        low, high = _hull_box(scene, intrinsics, masks, middle, half)
        if not (low <= high).all() or (high - low).max() > 1.9 * reach:
            return None
        middle, half = (low + high) / 2, float((high - low).max()) / 2 + half / HULL
    extent = np.linalg.norm(high - low) / 2 + half / HULL
    return Normalization(start.rotation, start.undo(middle[None])[0], MARGIN * start.scale / extent)


def _hull_box(
    poses: np.ndarray, intrinsics: np.ndarray, masks: np.ndarray, middle: np.ndarray, half: float
) -> tuple[np.ndarray, np.ndarray]:
    """Corners [3] of the box around the visual hull inside a cube; the low one above the high one where it is empty.

    A mask is widened by what a cell of the grid covers in the picture, so that no thin part slips between the points.
    """
    side = ((np.arange(HULL) + 0.5) / HULL * 2 - 1) * half
    grid = np.stack(np.meshgrid(side, side, side, indexing="ij"), -1).reshape(-1, 3) + middle
    kept, shown = np.ones(len(grid), bool), np.zeros(len(grid), int)
    height, width = masks.shape[1:]
    for pose, k, mask in zip(poses, intrinsics, masks, strict=True):
        distance = max(float(np.linalg.norm(pose[:3, 3] - middle)), 1e-9)
        spread = int(np.ceil(k[0, 0] * half / HULL * np.sqrt(3) / distance))
        wide = maximum_filter(mask, size=2 * min(spread, max(height, width)) + 1)
        at = kept.nonzero()[0]
        local = (grid[at] - pose[:3, 3]) @ pose[:3, :3]
        depth = np.maximum(-local[:, 2], 1e-9)
        column = np.floor(k[0, 0] * local[:, 0] / depth + k[0, 2])
        row = np.floor(-k[1, 1] * local[:, 1] / depth + k[1, 2])
        seen = (local[:, 2] < 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        inside = seen.copy()
        inside[seen] = wide[row[seen].astype(int), column[seen].astype(int)]
        kept[at] = inside | ~seen  # what a picture does not show, it cannot deny
        shown[at] += seen
    hull = grid[kept & (shown >= SHOWN * len(poses))]  # nor can it vouch for it
    return (hull.min(0), hull.max(0)) if len(hull) else (np.ones(3), -np.ones(3))


def focus(poses: np.ndarray) -> np.ndarray:
    """The point [3] nearest to all optical axes in the least-squares sense; where these are parallel, their middle."""
    forward = -poses[:, :3, 2]
    across = np.eye(3) - forward[:, :, None] * forward[:, None, :]
    places = poses[:, :3, 3]
    total = across.sum(0)
    if np.linalg.svd(total, compute_uv=False)[-1] < 1e-4 * len(poses):
        return places.mean(0)
    return np.linalg.solve(total, np.einsum("fij,fj->i", across, places))


def rotation_to_z(up: np.ndarray) -> np.ndarray:
    """The shortest rotation [3, 3] that takes `up` to +z; the identity where there is no up."""
    length = np.linalg.norm(up)
    if length < 1e-6:
        return np.eye(3)
    x, y, z = up / length
    if z < -1 + 1e-9:
        return np.diag([1.0, -1.0, -1.0])
    axis = np.array([[0, 0, -x], [0, 0, -y], [x, y, 0]])  # cross-product matrix of up x z
    return np.eye(3) + axis + axis @ axis / (1 + z)
