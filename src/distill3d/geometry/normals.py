"""Smooth normals."""

from __future__ import annotations

import numpy as np


def face_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """[F, 3] float64, of length twice the triangle's area, outwards for counter-clockwise triangles."""
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    return np.cross(b - a, c - a)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted mean of the normals around each place.

    Vertices at one place count as one, so a mesh that was cut open for its texture shades without seams.

    Args:
        vertices: [V, 3]. faces: [F, 3].
    Returns:
        [V, 3] float32, unit length; (0, 0, 1) where no triangle with an area is near.
    """
    rows = np.ascontiguousarray(vertices, np.float32) + np.float32(0)  # -0 and 0 are one place
    _, where = np.unique(rows.view("V12").reshape(-1), return_inverse=True)
    where = where.reshape(-1)
    count = int(where.max()) + 1 if len(where) else 0
    normals = np.zeros((count, 3))
    across = face_normals(vertices, faces)
    for axis in range(3):
        for corner in range(3):
            normals[:, axis] += np.bincount(where[faces[:, corner]], across[:, axis], count)
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    normals = np.where(length > 1e-20, normals / np.maximum(length, 1e-20), (0.0, 0.0, 1.0))
    return normals[where].astype(np.float32)
