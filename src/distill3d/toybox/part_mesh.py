"""A toy as coloured triangles, and which part each vertex belongs to."""

from __future__ import annotations

import numpy as np

from distill3d.core.mesh import Mesh
from distill3d.toybox.parts import Toy
from distill3d.toybox.tessellation import subdivide, tessellate

SEGMENTS = 24  # around a round part
FEWEST = 600  # triangles of a part


def part_mesh(toy: Toy) -> tuple[Mesh, np.ndarray]:
    """The parts' surfaces side by side, with plain colours at the vertices, and [V] positions in `toy.parts`.

    What lies inside another part is there too.
    """
    vertices, faces, colors, labels, count = [], [], [], [], 0
    for position, part in enumerate(toy.parts):
        points, triangles = tessellate(part.shape, part.size, SEGMENTS)
        while len(triangles) < FEWEST:
            points, triangles = subdivide(points, triangles)
        vertices.append(points @ part.rotation.T + part.center)
        faces.append(triangles + count)
        colors.append(np.tile(np.asarray(part.color, np.float32), (len(points), 1)))
        labels.append(np.full(len(points), position))
        count += len(points)
    mesh = Mesh(np.float32(np.concatenate(vertices)), np.concatenate(faces), np.concatenate(colors))
    return mesh, np.concatenate(labels)
