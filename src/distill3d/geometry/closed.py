"""Whether a surface encloses a solid."""

from __future__ import annotations

import numpy as np

from distill3d.core.mesh import Mesh


def loose_edges(mesh: Mesh) -> int:
    """How many edges are not walked as often one way as the other: 0 for a closed surface with one outside.

    An edge of an open rim counts, and one whose two triangles disagree about which side is out; several closed pieces
    that touch or overlap do not. Vertices at the same place, such as along a seam of a texture, are one.
    """
    rows = np.ascontiguousarray(mesh.vertices, np.float32) + np.float32(0)  # -0.0 is 0.0
    spots = np.unique(rows.view("V12").reshape(-1), return_inverse=True)[1].reshape(-1).astype(np.int64)
    faces = spots[mesh.faces]
    start, end = faces.reshape(-1), faces[:, [1, 2, 0]].reshape(-1)
    edges = np.minimum(start, end) * (len(rows) + 1) + np.maximum(start, end)
    _, edge = np.unique(edges, return_inverse=True)
    return int(np.count_nonzero(np.bincount(edge.reshape(-1), np.sign(end - start))))
