"""A triangle mesh with colour at the vertices or in a texture."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass
class Mesh:
    """Triangles in the project's world: right-handed, z up.

    Args:
        vertices: [V, 3] float32, world units.
        faces: [F, 3] int32, counter-clockwise seen from outside.
        colors: [V, 3] float32 in 0..1, or None.
        uv: [V, 2] float32 in 0..1, (0, 0) at the bottom left of the picture, or None.
        texture: [H, W, 3] float32 in 0..1, row 0 at the top, or None; needs `uv`.
        face_labels: [F] int32, e.g. parts, or None.
        name: what the mesh shows, used as the node's name in files.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray | None = None
    uv: np.ndarray | None = None
    texture: np.ndarray | None = None
    face_labels: np.ndarray | None = None
    name: str = "asset"

    def __post_init__(self) -> None:
        self.vertices = np.ascontiguousarray(self.vertices, np.float32).reshape(-1, 3)
        self.faces = np.ascontiguousarray(self.faces, np.int32).reshape(-1, 3)

    def in_unit_ball(self, radius: float = 1.0) -> Mesh:
        """Moved and scaled so that the middle of its box is the origin and its furthest vertex at `radius`."""
        center = 0.5 * (self.vertices.min(0).astype(np.float64) + self.vertices.max(0))
        moved = self.vertices - center
        reach = float(np.sqrt(np.square(moved).sum(-1).max()))
        return replace(self, vertices=moved * (radius / reach if reach > 0 else 1.0))
