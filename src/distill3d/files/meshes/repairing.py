"""What is wrong with a surface: refused where a picture of it would be a lie, put right and said where it is harmless.

Refused: a used vertex that is not finite, no triangle with an area.
Put right: unused vertices, triangles without an area, triangles that stand there twice.
Only said: edges of more than two triangles (not manifold), edges of one (open), pieces turned against each other.
"""

from __future__ import annotations

import numpy as np

from distill3d.files.meshes.limits import BadMesh
from distill3d.files.meshes.parts import Part

LARGEST = 1e15  # world units: beyond, products of coordinates leave what float32 can hold
EDGES_UP_TO = 2_000_000  # faces: above, looking at every edge takes too long


def repaired(part: Part) -> tuple[Part, list[str]]:
    """The surface without what is harmlessly wrong with it, and a line on each thing that was found.

    Raises:
        BadMesh: a vertex of a triangle is not finite or absurdly far away; or no triangle has an area.
    """
    notices = []
    used = np.zeros(len(part.positions), bool)
    used[part.faces.reshape(-1)] = True
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero(used & ~(np.abs(part.positions) <= LARGEST).all(-1))
    if len(wrong):
        values = ", ".join(f"{value:g}" for value in part.positions[wrong[0]])
        raise BadMesh(f"{len(wrong):,} of its {used.sum():,} vertices are not finite numbers, such as ({values})")
    spots = _spots(part.positions, used)
    faces = spots[part.faces]
    thin = (faces[:, 0] == faces[:, 1]) | (faces[:, 1] == faces[:, 2]) | (faces[:, 2] == faces[:, 0])
    a, b, c = (part.positions[part.faces[:, k]] for k in range(3))
    size = float(np.ptp(part.positions[used], axis=0).max()) or 1.0
    thin |= np.linalg.norm(np.cross((b - a) / size, (c - a) / size), axis=-1) <= 1e-14
    if thin.all():
        raise BadMesh("none of its triangles has an area")
    first = np.argmin(faces, 1)[:, None]
    turned = np.take_along_axis(faces, (first + np.arange(3)) % 3, 1)  # the smallest index first, the same side out
    _, index = np.unique(turned, axis=0, return_index=True)
    twice = np.ones(len(faces), bool)
    twice[index] = False
    twice &= ~thin
    keep = ~thin & ~twice
    for wrongs, what in ((thin, "triangles without an area"), (twice, "triangles that stand there twice")):
        if wrongs.any():
            notices.append(f"{int(wrongs.sum()):,} {what} were left out")
    if (~used).any():
        notices.append(f"{int((~used).sum()):,} vertices that no face uses were left out")
    if keep.sum() <= EDGES_UP_TO:
        notices += _edges(faces[keep])
    return _kept(part, keep), notices


def _spots(positions: np.ndarray, used: np.ndarray) -> np.ndarray:
    """[V] a number for each place: vertices that a seam of the texture doubled have the same one."""
    rows = np.ascontiguousarray(np.where(used[:, None], positions, 0.0), np.float32) + np.float32(0)
    return np.unique(rows.view("V12").reshape(-1), return_inverse=True)[1].reshape(-1).astype(np.int64)


def _edges(faces: np.ndarray) -> list[str]:
    start, end = faces.reshape(-1), faces[:, [1, 2, 0]].reshape(-1)
    code = np.minimum(start, end) * (int(faces.max()) + 1) + np.maximum(start, end)
    _, edge, count = np.unique(code, return_inverse=True, return_counts=True)
    balance = np.bincount(edge.reshape(-1), np.where(start < end, 1.0, -1.0))
    found = []
    crowded, open_edges = int((count > 2).sum()), int((count == 1).sum())
    against = int(((count == 2) & (balance != 0)).sum())
    if crowded:
        found.append(f"it is not manifold: {crowded:,} edges have more than two triangles")
    if open_edges:
        found.append(f"it is not closed: {open_edges:,} edges have one triangle")
    if against:
        found.append(f"its triangles disagree about which side is out, at {against:,} edges")
    return found


def _kept(part: Part, keep: np.ndarray) -> Part:
    used, faces = np.unique(part.faces[keep], return_inverse=True)

    def taken(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values[used]

    positions = taken(part.positions)
    assert positions is not None
    return Part(positions, faces.reshape(-1, 3), taken(part.uv), taken(part.colors), part.material)
