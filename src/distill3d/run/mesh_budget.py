"""A finished mesh with fewer triangles or a texture of another size, looking the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from scipy.spatial import cKDTree
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.geometry.bake import bake
from distill3d.geometry.decimate import decimate
from distill3d.geometry.normals import face_normals
from distill3d.geometry.unwrap import unwrap
from distill3d.renderers.mesh_picture import sample_texture

MOST_SAMPLES = 4_000_000
SIDES = (64, 8192)  # of a texture, pixels


def within_budget(
    mesh: Mesh, faces: int | None = None, texture: int | None = None, progress: Callable[[str], object] | None = None
) -> Mesh:
    """Decimates a mesh that has more triangles than wanted, and paints it anew from the original.

    Args:
        faces: the most triangles; None keeps them all.
        texture: pixels along a side. None keeps a texture's size, and leaves vertex colours at the vertices; a number
            makes a texture of vertex colours, and makes a larger texture smaller, never a smaller one larger.
        progress: called with the name of each stage as it begins.
    Raises:
        UserError: a number out of range, or nothing is left.
    """
    tell = progress or (lambda stage: None)
    if faces is not None and not 4 <= faces <= 10_000_000:
        raise UserError(f"--faces is 4 to 10,000,000 (got {faces})")
    if texture is not None and not SIDES[0] <= texture <= SIDES[1]:
        raise UserError(f"--texture is {SIDES[0]} to {SIDES[1]} pixels (got {texture})")
    colored = mesh.texture is not None or mesh.colors is not None
    if faces is None or len(mesh.faces) <= faces:
        if texture is None or not colored:
            return mesh
        if mesh.texture is not None:
            return with_smaller_texture(mesh, texture)
        tell("unwrapping")
        return bake(unwrap(_welded(mesh), texture), surface_colors(mesh, texture * texture), texture)
    tell("decimating")
    small = decimate(_welded(mesh), faces)
    small.name = mesh.name
    if not len(small.faces):
        raise UserError(f"nothing is left of the mesh with {faces} faces; allow more")
    if not colored:
        return small
    if mesh.texture is None and texture is None:
        tell("colours")
        points = torch.from_numpy(small.vertices)
        return replace(small, colors=surface_colors(mesh, 4 * len(mesh.vertices))(points).numpy())
    size = texture if mesh.texture is None else min(texture or SIDES[1], max(mesh.texture.shape[:2]), SIDES[1])
    assert size is not None
    tell("unwrapping")
    flat = unwrap(small, size)
    tell("baking")
    return bake(flat, surface_colors(mesh, size * size), size)


def with_smaller_texture(mesh: Mesh, size: int) -> Mesh:
    """The mesh with its texture averaged down to at most `size` pixels along its longer side."""
    assert mesh.texture is not None
    height, width = mesh.texture.shape[:2]
    if max(height, width) <= size:
        return mesh
    scale = size / max(height, width)
    picture = Image.fromarray((mesh.texture * 255 + 0.5).astype(np.uint8))
    small = picture.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BOX)
    return replace(mesh, texture=np.asarray(small, np.float32) / np.float32(255))


def with_vertex_colors(mesh: Mesh) -> Mesh:
    """The mesh with the colour of its texture at each vertex in place of the texture."""
    if mesh.texture is None or mesh.uv is None:
        return mesh
    return replace(mesh, colors=sample_texture(mesh.texture, mesh.uv).astype(np.float32), uv=None, texture=None)


def surface_colors(mesh: Mesh, count: int) -> Callable[[Tensor], Tensor]:
    """The colours of a mesh as a field: points [N, 3] -> the colour [N, 3] of the nearest of many surface samples.

    Args:
        count: how fine: about two samples for each of so many texels or vertices, spread evenly over the area.
    """
    count = int(np.clip(2 * count, 10_000, MOST_SAMPLES))
    area = np.linalg.norm(face_normals(mesh.vertices, mesh.faces), axis=-1)
    ends = np.cumsum(area)
    rng = np.random.default_rng(0)  # the same mesh, the same colours
    places = (np.arange(count) + rng.random(count)) / count * ends[-1]
    face = np.searchsorted(ends, places, "right").clip(0, len(area) - 1)
    u, v = np.sqrt(rng.random(count)), rng.random(count)
    weights = np.stack([1 - u, u * (1 - v), u * v], -1).astype(np.float32)  # uniform over a triangle
    corners = mesh.faces[face]

    def mixed(values: np.ndarray) -> np.ndarray:
        return np.einsum("nk,nkc->nc", weights, values[corners])

    points = mixed(mesh.vertices)
    if mesh.texture is not None and mesh.uv is not None:
        colors = sample_texture(mesh.texture, mixed(mesh.uv))
    else:
        assert mesh.colors is not None
        colors = mixed(mesh.colors)
    tree = cKDTree(points)

    def color_at(query: Tensor) -> Tensor:
        return torch.from_numpy(colors[tree.query(query.cpu().numpy())[1]].astype(np.float32))

    return color_at


def _welded(mesh: Mesh) -> Mesh:
    """Only the shape, with one vertex at each place: seams of a texture would tear open."""
    rows = np.ascontiguousarray(mesh.vertices, np.float32) + np.float32(0)
    _, first, where = np.unique(rows.view("V12").reshape(-1), return_index=True, return_inverse=True)
    return Mesh(mesh.vertices[first], where.reshape(-1)[mesh.faces], name=mesh.name)
