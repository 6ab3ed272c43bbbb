"""Pieces of a surface: floaters in the air and cavities inside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from distill3d.core.mesh import Mesh
from distill3d.geometry.normals import face_normals


@dataclass(frozen=True)
class Removed:
    """How many pieces went: `floaters` were too small to matter, `cavities` were walls that nobody can see."""

    floaters: int
    cavities: int


def face_components(mesh: Mesh) -> np.ndarray:
    """[F] int, the connected piece of each face, numbered from 0; faces connect through shared vertices."""
    edges = mesh.faces[:, [0, 1, 1, 2]].reshape(-1, 2)
    count = len(mesh.vertices)
    graph = coo_matrix((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    return np.unique(label[mesh.faces[:, 0]], return_inverse=True)[1].reshape(-1)


def remove_floaters(mesh: Mesh, share: float = 0.02) -> tuple[Mesh, Removed]:
    """Keeps the pieces that matter.

    Args:
        mesh: closed, outward; neither colours nor texture are carried over.
        share: pieces with less than this share of the largest piece's area go. Of the others, those that enclose a
            negative volume are walls of cavities inside the object and go too.
    Returns:
        the mesh without them (vertices that no face uses are gone), and what was removed.
    """
    if not len(mesh.faces):
        return mesh, Removed(0, 0)
    piece = face_components(mesh)
    across = face_normals(mesh.vertices, mesh.faces)
    area = np.bincount(piece, np.linalg.norm(across, axis=-1) / 2)
    volume = np.bincount(piece, np.einsum("fi,fi->f", mesh.vertices[mesh.faces[:, 0]], across) / 6)
    small = area < share * area.max()
    hollow = ~small & (volume < 0)
    if hollow.all() or (hollow | small).all():  # an open or inverted surface: nothing here is a cavity
        hollow[:] = False
    keep = ~(small | hollow)[piece]
    used, faces = np.unique(mesh.faces[keep], return_inverse=True)
    kept = Mesh(mesh.vertices[used], faces.reshape(-1, 3), name=mesh.name)
    return kept, Removed(int(small.sum()), int(hollow.sum()))
