"""STL: triangles without colour, as 3D printers take them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from distill3d.core.mesh import Mesh
from distill3d.files.atomic import write_bytes


def write_stl(mesh: Mesh, path: Path) -> None:
    """Writes a binary STL, whole or not at all. Axes are the project's: z up. Colours and texture are lost.

    Raises:
        UserError: it cannot be written.
    """
    corners = mesh.vertices[mesh.faces].astype(np.float64)  # [F, 3, 3]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-30)
    rows = np.zeros(len(mesh.faces), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    rows["normal"], rows["corners"] = normals, corners
    header = b"distill3d".ljust(80, b" ")  # must not begin with "solid", which means a text
    write_bytes(path, header + struct.pack("<I", len(rows)) + rows.tobytes())
