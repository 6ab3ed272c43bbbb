"""Silhouettes of a mesh, made smooth and differentiable: pixels at an edge share it by how far it reaches.

A z-buffer says in or out for each pixel, so its pictures do not change when an edge moves a little. As in nvdiffrast
(Laine et al. 2020, section 3.6), two neighbouring pixels with an edge between their centres are blended by where the
edge crosses the line from one centre to the other: a share s of the way from the pixel inside to the one outside, the
edge covers s - 1/2 of the outer pixel, or leaves 1/2 - s of the inner one free. Their search begins with pixels, and
asks whether the triangle in one of them has a silhouette edge there; on dense meshes it seldom has, as the edge
belongs to a triangle that no pixel centre saw. Here the search begins with geometry: the edges whose faces all lie on
one side are listed, and each walks the rows and columns of pixel centres that it crosses.

Of several edges between two centres the outermost counts. An edge is blended along the axis to which it is steeper,
rows first, then columns on what the rows left, so that a pixel never gives away more than it has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.kernels import antialias_numba as loops
from distill3d.kernels.antialias_torch import antialias_reference
from distill3d.kernels.mesh_edges import MeshEdges
from distill3d.kernels.rasterize import pinhole
from distill3d.kernels.rasterize_numba import project

__all__ = ["antialias", "antialias_reference"]


def antialias(
    picture: Tensor, vertices: Tensor, faces: Tensor, edges: MeshEdges, triangle: Tensor, cameras: Cameras
) -> Tensor:
    """Blends pictures across the silhouettes of the mesh.

    Args:
        picture: [B, H, W, C], what the pixels see, multiplied by coverage (0 where nothing is hit); coverage itself may
            be one of the channels.
        vertices: [V, 3]. faces: [F, 3]. edges: `mesh_edges(faces, V)`.
        triangle: [B, H, W] int32, what `visible_triangles` found for these vertices and cameras.

    Returns:
        [B, H, W, C]. Gradients to picture and vertices, once. What is thinner than a pixel and covers no pixel's
        centre is not seen; edges that cross the camera's plane stay hard. Agrees with `antialias_reference` in double
        precision to 1e-5 of the largest entry. The same bits on any number of threads.
    """
    if picture.device.type == "cpu" and picture.dtype == vertices.dtype == torch.float32:
        return _Antialias.apply(picture, vertices, faces, edges, triangle, cameras)  # type: ignore[no-untyped-call]
    return antialias_reference(picture, vertices, faces, edges, triangle, cameras)


class _Antialias(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, picture: Tensor, vertices: Tensor, faces: Tensor, edges: MeshEdges, triangle: Tensor, cameras: Cameras
    ) -> Tensor:
        rotations, positions, lenses = pinhole(cameras)
        points = np.empty((len(cameras), len(vertices), 5))
        project(vertices.detach().double().contiguous().numpy(), rotations, positions, lenses, points)
        corners = faces.to(torch.int32).contiguous().numpy()
        topology = (edges.ends.numpy(), edges.starts.numpy(), edges.sides.numpy())
        along_rows, along_columns = loops.crossings(points, corners, *topology, lenses, triangle.numpy())
        before = picture.detach().contiguous()
        between = before.clone()
        loops.blend(before.numpy(), between.numpy(), *along_rows)
        after = between.clone()
        loops.blend(between.numpy(), after.numpy(), *along_columns)
        ctx.save_for_backward(before, between)
        ctx.geometry = (points, rotations, lenses, along_rows, along_columns, len(vertices))
        return after

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        before, between = ctx.saved_tensors
        points, rotations, lenses, along_rows, along_columns, count = ctx.geometry
        to_vertices = np.zeros((count, 3))
        v = gradient.contiguous()
        for axis, source, pairs in ((1, between, along_columns), (0, before, along_rows)):
            to_source = v.clone()
            loops.unblend(
                source.numpy(), v.numpy(), *pairs, axis, points, rotations, lenses, to_source.numpy(), to_vertices
            )
            v = to_source
        return v, torch.from_numpy(to_vertices.astype(np.float32)), None, None, None, None
