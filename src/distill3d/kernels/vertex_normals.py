"""Smooth normals of a mesh, differentiable with respect to its vertices."""

from __future__ import annotations

import torch
from torch import Tensor

from distill3d.kernels.gather import gather, sum_rows


def face_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """[F, 3], of length twice the triangle's area, outwards for counter-clockwise triangles."""
    a, b, c = gather(vertices, faces).unbind(1)
    return torch.linalg.cross(b - a, c - a)


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Area-weighted mean of the normals of the faces at each vertex.

    Args:
        vertices: [V, 3]; faces: [F, 3]. Vertices that are doubled for a texture shade with a seam.
    Returns:
        [V, 3], unit length; 0 where no triangle with an area is near. Gradients to the vertices.
    """
    across = face_normals(vertices, faces)
    sums = sum_rows(across.repeat_interleave(3, 0), faces.reshape(-1), len(vertices))
    return torch.nn.functional.normalize(sums, dim=-1, eps=1e-20)
