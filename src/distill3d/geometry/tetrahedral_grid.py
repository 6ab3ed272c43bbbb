"""A body-centred cubic grid of tetrahedra, filling the unit ball."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from distill3d.core.errors import UserError

EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))  # of a tetrahedron, by its corners
AROUND = 24  # tetrahedra at a vertex that has neighbours on all sides


@dataclass(frozen=True)
class TetrahedralGrid:
    """All tetrahedra are congruent: two edges of length h along the axes, four of length h sqrt(3) / 2.

    Args:
        vertices: [V, 3] float32, in the unit ball.
        tetrahedra: [T, 4] int64, det(v1 - v0, v2 - v0, v3 - v0) > 0.
        edges: [E, 2] int64, each once, the smaller vertex first.
        tetrahedron_edges: [T, 6] int64, the edges of each in the order of `EDGES`.
        border: [V] bool, vertices on the outside of the grid.
        spacing: h, world units.
    """

    vertices: np.ndarray
    tetrahedra: np.ndarray
    edges: np.ndarray
    tetrahedron_edges: np.ndarray
    border: np.ndarray
    spacing: float


@lru_cache(maxsize=2)
def tetrahedral_grid(resolution: int) -> TetrahedralGrid:
    """The grid with `resolution` cubic cells along each side of [-1, 1]^3, cut to the unit ball.

    Its vertices are the corners and the centres of the cells. Two neighbouring centres and one edge of the face
    between them make a tetrahedron: 12 a cell, all of one shape, as those of a split cube are not.

    Raises:
        UserError: fewer than 4 cells, or more than 256.
    """
    if not 4 <= resolution <= 256:
        raise UserError(f"a tetrahedral grid of {resolution} cells a side is out of range (4 to 256)")
    n, spacing = resolution, 2.0 / resolution
    side = np.arange(n + 1)
    corners = np.stack(np.meshgrid(side, side, side, indexing="ij"), -1).reshape(-1, 3) * spacing - 1.0
    cells = np.stack(np.meshgrid(*[side[:-1]] * 3, indexing="ij"), -1).reshape(-1, 3)
    vertices = np.concatenate([corners, (cells + 0.5) * spacing - 1.0]).astype(np.float32)

    def corner(place: np.ndarray) -> np.ndarray:
        return (place[:, 0] * (n + 1) + place[:, 1]) * (n + 1) + place[:, 2]

    def centre(place: np.ndarray) -> np.ndarray:
        return (n + 1) ** 3 + (place[:, 0] * n + place[:, 1]) * n + place[:, 2]

    found = []
    for axis in range(3):
        forward, one, two = np.eye(3, dtype=np.int64)[[axis, (axis + 1) % 3, (axis + 2) % 3]]
        lower = cells[cells[:, axis] < n - 1]
        around = [forward, forward + one, forward + one + two, forward + two]  # the face between, counter-clockwise
        for k in range(4):
            side_ends = corner(lower + around[k]), corner(lower + around[(k + 1) % 4])
            found.append(np.stack([centre(lower), centre(lower + forward), *side_ends], 1))
    tetrahedra = np.concatenate(found)
    inside = (vertices.astype(np.float64) ** 2).sum(1) <= 1.0
    tetrahedra = tetrahedra[inside[tetrahedra].all(1)]
    used, index = np.unique(tetrahedra, return_inverse=True)
    vertices, tetrahedra = vertices[used], index.reshape(-1, 4)
    ends = np.sort(tetrahedra[:, np.array(EDGES)].reshape(-1, 2), 1)
    keys, which = np.unique(ends[:, 0] * len(vertices) + ends[:, 1], return_inverse=True)
    return TetrahedralGrid(
        vertices,
        tetrahedra,
        np.stack([keys // len(vertices), keys % len(vertices)], 1),
        which.reshape(-1, 6),
        np.bincount(tetrahedra.reshape(-1), minlength=len(vertices)) < AROUND,
        spacing,
    )
