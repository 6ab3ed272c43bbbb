"""A surface laid flat: texture coordinates."""

from __future__ import annotations

import numpy as np
import xatlas

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.geometry.normals import face_normals

MOST_FACES = 200_000  # above it charting takes minutes
CHARTS = 128  # a chart covers at most this fraction of the surface: charting time grows with the square of its size


def unwrap(mesh: Mesh, texture_size: int = 1024, padding: int = 3) -> Mesh:
    """Cuts a mesh into charts and packs them into the unit square with xatlas (Young, after Sander et al. 2001).

    Args:
        mesh: without texture coordinates; vertex colours are carried to the cut vertices.
        texture_size: pixels along a side of the texture to come.
        padding: pixels kept free around each chart.
    Returns:
        the same triangles in the same order, with `uv`, and with more vertices, since those on seams are doubled.
    Raises:
        UserError: more than 200,000 faces, or none.
    """
    if not len(mesh.faces):
        raise UserError("cannot unwrap a mesh without faces")
    if len(mesh.faces) > MOST_FACES:
        raise UserError(f"cannot unwrap {len(mesh.faces)} faces in reasonable time; decimate to {MOST_FACES} or fewer")
    area = float(np.linalg.norm(face_normals(mesh.vertices, mesh.faces), axis=-1).sum() / 2)
    charts = xatlas.ChartOptions()
    charts.max_iterations = 1
    charts.max_chart_area = area / CHARTS
    packing = xatlas.PackOptions()
    packing.resolution = texture_size
    packing.padding = padding
    packing.bilinear = True
    # xatlas drops triangles below an absolute size, so it is given a mesh of fixed extent
    size = float(np.ptp(mesh.vertices, axis=0).max()) or 1.0
    atlas = xatlas.Atlas()
    atlas.add_mesh(np.ascontiguousarray(mesh.vertices / size, np.float32), mesh.faces.astype(np.uint32))
    charts.max_chart_area /= size * size
    atlas.generate(charts, packing)
    source, faces, uv = atlas[0]
    colors = None if mesh.colors is None else mesh.colors[source]
    return Mesh(mesh.vertices[source], faces, colors, uv.astype(np.float32), None, mesh.face_labels, mesh.name)
