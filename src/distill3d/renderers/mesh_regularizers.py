"""Penalties that keep an optimised mesh a surface: pure functions, each a scalar to be weighted."""

from __future__ import annotations

import torch
from torch import Tensor

from distill3d.kernels.gather import gather, sum_rows
from distill3d.kernels.mesh_edges import MeshEdges
from distill3d.kernels.vertex_normals import face_normals


def laplacian(vertices: Tensor, edges: MeshEdges) -> Tensor:
    """Mean squared distance of the vertices from the mean of their neighbours (uniform Laplacian; Sorkine 2006, eq. 2).

    Pulls the surface smooth, and the vertices towards an even spacing; also shrinks it.

    Args:
        vertices: [V, 3], world units.
    """
    ends = edges.ends.long()
    both = torch.cat([ends, ends.flip(1)])
    sums = sum_rows(gather(vertices, both[:, 1]), both[:, 0], len(vertices))
    degree = torch.bincount(both[:, 0], minlength=len(vertices)).clamp(min=1)
    used = torch.zeros(len(vertices), 1, dtype=torch.bool, device=vertices.device)
    used[ends] = True
    return torch.where(used, sums / degree[:, None] - vertices, 0.0).square().sum(-1).mean()


def normal_consistency(vertices: Tensor, faces: Tensor, edges: MeshEdges) -> Tensor:
    """Mean of 1 - cos of the angle between the normals of neighbouring faces: 0 for a plane, 2 for a fold.

    Faces without an area count as perpendicular to all.
    """
    pairs = edges.pairs()
    if not len(pairs):
        return vertices.sum() * 0
    normals = torch.nn.functional.normalize(face_normals(vertices, faces), dim=-1, eps=1e-12)
    one, two = gather(normals, pairs).unbind(1)
    return (1 - (one * two).sum(-1)).mean()


def edge_length(vertices: Tensor, edges: MeshEdges) -> Tensor:
    """Variance of the edges' lengths over their squared mean: draws the edges to one length, whatever the size.

    Args:
        vertices: [V, 3].
    """
    a, b = gather(vertices, edges.ends).unbind(1)
    lengths = ((a - b).square().sum(-1) + 1e-12).sqrt()
    mean = lengths.mean()
    return (lengths - mean).square().mean() / mean.square().clamp(min=1e-12)
