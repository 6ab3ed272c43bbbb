"""Values at the vertices of a mesh, brought to the pixels that see it: perspective-correct, with analytic gradients.

With p_k the corners of the triangle seen from the camera and d the pixel's ray, w_0 = d.(p_1 x p_2) and so on are the
edge functions of the rasteriser and b = w / sum(w) the perspective-correct barycentrics (Olano and Greer 1997). The
value is sum_k b_k a_k. Going back, g_k = v . a_k is the gradient with respect to b_k, (g_k - sum_j g_j b_j) / sum(w)
that with respect to w_k, and d w_0 / d p_1 = p_2 x d, d w_0 / d p_2 = d x p_1.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.kernels.rasterize import pinhole

PARTS = 4  # sums of the backward pass are split into at least so many, always, so that threads do not change a bit


def interpolate(attributes: Tensor, vertices: Tensor, faces: Tensor, triangle: Tensor, cameras: Cameras) -> Tensor:
    """What the pixels see of values that live at the vertices.

    Args:
        attributes: [V, C]. The vertices themselves may be among them: that gives the point that a pixel sees, which
            stays on the pixel's ray when the vertices move.
        vertices: [V, 3], world units. faces: [F, 3].
        triangle: [B, H, W] int32, what `visible_triangles` found, -1 for nothing.
        cameras: the `B` cameras of that call.

    Returns:
        [B, H, W, C], 0 where nothing is hit. Gradients to attributes and vertices, once; which triangle a pixel sees
        is taken as given (`antialias` adds what follows when that changes). Agrees with `interpolate_reference` to
        1e-5 of the largest entry. The same bits on any number of threads.
    """
    if attributes.device.type == "cpu" and attributes.dtype == vertices.dtype == torch.float32:
        return _Interpolate.apply(attributes, vertices, faces, triangle, cameras)  # type: ignore[no-untyped-call]
    return interpolate_reference(attributes, vertices, faces, triangle, cameras)


def interpolate_reference(
    attributes: Tensor, vertices: Tensor, faces: Tensor, triangle: Tensor, cameras: Cameras
) -> Tensor:
    """The same in plain torch, on any device and in any precision."""
    hit = triangle >= 0
    picture = hit.nonzero()[:, 0]
    corners = faces.long()[triangle[hit].long()]
    precise = Cameras(
        cameras.camera_to_world.to(vertices), cameras.intrinsics.to(vertices), cameras.height, cameras.width
    )
    directions = precise.rays()[1][hit]
    p = vertices[corners] - precise.position[picture, None]
    w = torch.stack([torch.linalg.cross(p[:, (k + 1) % 3], p[:, (k + 2) % 3]) for k in range(3)], 1)
    w = (w * directions[:, None]).sum(-1)
    weights = w / w.sum(-1, keepdim=True)
    values = (weights[..., None] * attributes[corners]).sum(1)
    return values.new_zeros(*triangle.shape, attributes.shape[1]).masked_scatter(hit[..., None], values)


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, attributes: Tensor, vertices: Tensor, faces: Tensor, triangle: Tensor, cameras: Cameras
    ) -> Tensor:
        values, places = attributes.detach().contiguous(), vertices.detach().contiguous()
        corners = faces.to(torch.int32).contiguous()
        ctx.save_for_backward(values, places, corners, triangle)
        ctx.cameras = cameras
        out = torch.zeros(*triangle.shape, values.shape[1])
        _forward(values.numpy(), places.numpy(), corners.numpy(), triangle.numpy(), *pinhole(cameras), out.numpy())
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, places, corners, triangle = ctx.saved_tensors
        arrays = (a.contiguous().numpy() for a in (values, places, corners, triangle))
        parts = -(-PARTS // max(len(triangle), 1))  # strips of rows of each picture
        sums = np.zeros((len(triangle) * parts, len(places), values.shape[1] + 3), np.float32)
        moves = bool(ctx.needs_input_grad[1])
        _backward(*arrays, *pinhole(ctx.cameras), gradient.contiguous().numpy(), parts, moves, sums)
        total = torch.from_numpy(sums.sum(0))
        return total[:, :-3].contiguous(), (total[:, -3:].contiguous() if moves else None), None, None, None


@numba.njit(cache=True, nogil=True, error_model="numpy")
def corners_from(vertices, corner, position, p):  # type: ignore[no-untyped-def]
    """Writes the corners [3, 3] of a triangle as seen from `position`, and returns six times the volume it spans."""
    for k in range(3):
        for axis in range(3):
            p[k, axis] = np.float64(vertices[corner[k], axis]) - position[axis]
    return (
        p[0, 0] * (p[1, 1] * p[2, 2] - p[1, 2] * p[2, 1])
        + p[0, 1] * (p[1, 2] * p[2, 0] - p[1, 0] * p[2, 2])
        + p[0, 2] * (p[1, 0] * p[2, 1] - p[1, 1] * p[2, 0])
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def ray(rotation, lens, row, column, d):  # type: ignore[no-untyped-def]
    """Writes the world direction [3] of a pixel's ray, of length one along the optical axis."""
    x, y = (column + 0.5 - lens[2]) / lens[0], -(row + 0.5 - lens[3]) / lens[1]
    for axis in range(3):
        d[axis] = rotation[axis, 0] * x + rotation[axis, 1] * y - rotation[axis, 2]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def edge_weights(p, d, w):  # type: ignore[no-untyped-def]
    """Writes w_k = d . (p_{k+1} x p_{k+2}) and returns their sum."""
    for k in range(3):
        a, b = p[(k + 1) % 3], p[(k + 2) % 3]
        w[k] = (
            d[0] * (a[1] * b[2] - a[2] * b[1]) + d[1] * (a[2] * b[0] - a[0] * b[2]) + d[2] * (a[0] * b[1] - a[1] * b[0])
        )
    return w[0] + w[1] + w[2]


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def _forward(values, vertices, faces, triangle, rotations, positions, lenses, out):  # type: ignore[no-untyped-def]
    pictures, height, width = triangle.shape
    channels = values.shape[1]
    for job in numba.prange(pictures * height):
        b, row = job // height, job % height
        p, d, w = np.empty((3, 3)), np.empty(3), np.empty(3)
        for column in range(width):
            f = triangle[b, row, column]
            if f < 0:
                continue
            corners_from(vertices, faces[f], positions[b], p)
            ray(rotations[b], lenses[b], row, column, d)
            total = edge_weights(p, d, w)
            w0, w1, w2 = np.float32(w[0] / total), np.float32(w[1] / total), np.float32(w[2] / total)
            i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
            for c in range(channels):
                out[b, row, column, c] = w0 * values[i, c] + w1 * values[j, c] + w2 * values[k, c]


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def _backward(  # type: ignore[no-untyped-def]
    values, vertices, faces, triangle, rotations, positions, lenses, gradient, parts, moves, sums
):
    pictures, height, width = triangle.shape
    channels = values.shape[1]
    rows = (height + parts - 1) // parts
    for job in numba.prange(pictures * parts):
        b, first = job // parts, job % parts * rows
        p, d, w, g = np.empty((3, 3)), np.empty(3), np.empty(3), np.empty(3)
        total_of = sums[job]
        for row in range(first, min(height, first + rows)):
            for column in range(width):
                f = triangle[b, row, column]
                if f < 0:
                    continue
                corners_from(vertices, faces[f], positions[b], p)
                ray(rotations[b], lenses[b], row, column, d)
                total = edge_weights(p, d, w)
                mean = 0.0
                for k in range(3):
                    w[k] /= total
                    v, g[k] = faces[f, k], 0.0
                    for c in range(channels):
                        upstream = gradient[b, row, column, c]
                        g[k] += upstream * values[v, c]
                        total_of[v, c] += np.float32(w[k]) * upstream
                    mean += g[k] * w[k]
                if not moves:
                    continue
                for k in range(3):
                    g[k] = (g[k] - mean) / total  # with respect to the edge function
                for k in range(3):
                    # the corner k is in w_{k+1} = d . (p_{k+2} x p_k) and in w_{k+2} = d . (p_k x p_{k+1})
                    one, two = (k + 1) % 3, (k + 2) % 3
                    for axis in range(3):
                        y, z = (axis + 1) % 3, (axis + 2) % 3
                        first_part = d[y] * p[two, z] - d[z] * p[two, y]  # d x p_{k+2}
                        second_part = p[one, y] * d[z] - p[one, z] * d[y]  # p_{k+1} x d
                        total_of[faces[f, k], channels + axis] += np.float32(g[one] * first_part + g[two] * second_part)
