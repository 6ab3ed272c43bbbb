"""Stanford PLY with a colour at each vertex."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from distill3d.core.mesh import Mesh
from distill3d.files.atomic import write_bytes
from distill3d.files.pictures import to_bytes


def write_ply(mesh: Mesh, path: Path) -> None:
    """Writes a binary little-endian PLY, whole or not at all. Axes are the project's: z up.

    Args:
        mesh: its vertex colours are written where it has them; a texture is not.
    Raises:
        UserError: it cannot be written.
    """
    fields: list[tuple[str, str]] = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
    if mesh.colors is not None:
        fields += [("red", "u1"), ("green", "u1"), ("blue", "u1")]
    vertices = np.empty(len(mesh.vertices), fields)
    for k, axis in enumerate("xyz"):
        vertices[axis] = mesh.vertices[:, k]
    if mesh.colors is not None:
        colors = to_bytes(mesh.colors)
        for k, channel in enumerate(("red", "green", "blue")):
            vertices[channel] = colors[:, k]
    faces = np.empty(len(mesh.faces), [("count", "u1"), ("corners", "<i4", (3,))])
    faces["count"], faces["corners"] = 3, mesh.faces
    kinds = {"<f4": "float", "u1": "uchar"}
    header = ["ply", "format binary_little_endian 1.0", "comment distill3d", f"element vertex {len(vertices)}"]
    header += [f"property {kinds[kind]} {name}" for name, kind in fields]
    header += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""]
    write_bytes(path, "\n".join(header).encode() + vertices.tobytes() + faces.tobytes())
