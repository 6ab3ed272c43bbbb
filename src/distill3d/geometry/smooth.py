"""Less of marching cubes' stairs, the same volume."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix, diags

from distill3d.core.mesh import Mesh


def smooth(mesh: Mesh, rounds: int = 5, forward: float = 0.5, backward: float = -0.53) -> Mesh:
    """Taubin's smoothing (1995, "A signal processing approach to fair surface design").

    Every round moves each vertex towards the mean of its neighbours by `forward`, then away from it by `backward`, so
    that small ripples fade and the object does not shrink.

    Args:
        mesh: any; colours, texture coordinates and texture are kept as they are. At 0 rounds it comes back unchanged.
        rounds: pairs of steps.
    """
    edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    edges = np.unique(np.concatenate([edges, edges[:, ::-1]]), axis=0)
    count = len(mesh.vertices)
    neighbours = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count)).tocsr()
    mean = diags(1.0 / np.maximum(neighbours.sum(1).A1, 1.0)) @ neighbours
    vertices = mesh.vertices.astype(np.float64)
    for _ in range(rounds):
        for amount in (forward, backward):
            vertices = vertices + amount * (mean @ vertices - vertices)
    return Mesh(vertices, mesh.faces, mesh.colors, mesh.uv, mesh.texture, mesh.face_labels, mesh.name)
