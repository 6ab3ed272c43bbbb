"""Fewer triangles for the same shape."""

from __future__ import annotations

import fast_simplification
import numpy as np

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.geometry.normals import face_normals


def decimate(mesh: Mesh, faces: int) -> Mesh:
    """Quadric edge collapse (Garland and Heckbert 1997) down to at most about `faces` triangles.

    Args:
        mesh: neither colours nor texture are carried over, so decimate before unwrapping.
        faces: the budget; a mesh within it comes back unchanged.
    Returns:
        a mesh without triangles that have no area.
    """
    if faces < 4:
        raise UserError(f"a face budget of {faces} is too small: at least 4 triangles enclose a volume")
    if len(mesh.faces) <= faces:
        return mesh
    vertices, triangles = fast_simplification.simplify(mesh.vertices, mesh.faces, target_count=faces)
    triangles = triangles[np.linalg.norm(face_normals(vertices, triangles), axis=-1) > 1e-14]
    used, triangles = np.unique(triangles, return_inverse=True)
    return Mesh(vertices[used], triangles.reshape(-1, 3), name=mesh.name)
