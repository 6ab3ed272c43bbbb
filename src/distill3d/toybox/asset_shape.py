"""A finished asset, from a file or in memory, as the judge sees it: its solid, and colours all over what shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import trimesh
from scipy.ndimage import binary_dilation, label

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.toybox.alignment import FINE, Shape, frame
from distill3d.toybox.voxelize import solid_cells

POINTS = 3000
REACH = 0.95  # of the radius that the grid covers is the object's: a rim of empty cells stays around it


def read_asset(path: str | Path) -> Mesh:
    """A GLB, OBJ or PLY file as a mesh with z up, with its texture or its vertex colours.

    GLB and OBJ have y up and are turned back; PLY is as it is. Vertex colours of GLB are linear light.

    Raises:
        UserError: no such file, not one of these, or it has no faces.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".glb", ".obj", ".ply"):
        raise UserError(f"{path}: an asset is a .glb, .obj or .ply file")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        loaded = trimesh.load(path, force="mesh", process=False)
        if kind == ".glb" and getattr(getattr(loaded, "visual", None), "uv", None) is None:
            # With a material, trimesh leaves the colours of vertices out.
            loaded = trimesh.load(path, force="mesh", process=False, skip_materials=True)
    except Exception as problem:  # trimesh raises whatever its parsers meet
        raise UserError(f"{path}: cannot be read as {kind[1:].upper()} ({problem})") from problem
    if not isinstance(loaded, trimesh.Trimesh) or not len(loaded.faces):
        raise UserError(f"{path}: it has no faces")
    vertices = np.asarray(loaded.vertices)
    if kind != ".ply":
        vertices = vertices[:, [2, 0, 1]]
    visual = loaded.visual
    uv = getattr(visual, "uv", None)
    material = getattr(visual, "material", None)
    picture = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    if uv is not None and picture is not None:
        texture = np.asarray(picture.convert("RGB"), np.float32) / 255
        return Mesh(vertices, loaded.faces, uv=np.asarray(uv, np.float32), texture=texture, name=path.stem)
    if not isinstance(visual, trimesh.visual.ColorVisuals) or visual.kind != "vertex":
        return Mesh(vertices, loaded.faces, name=path.stem)
    colors = np.asarray(visual.vertex_colors[:, :3], np.float32) / 255
    if kind == ".glb":
        colors = np.where(colors <= 0.0031308, colors * 12.92, 1.055 * np.maximum(colors, 1e-9) ** (1 / 2.4) - 0.055)
    return Mesh(vertices, loaded.faces, colors.astype(np.float32), name=path.stem)


def asset_shape(mesh: Mesh, rng: np.random.Generator) -> Shape:
    """The asset in its own frame.

    Surface points are spread evenly by area; one shows where the air beside it reaches the outside of the bounding
    cube, so walls between overlapping parts and of closed cavities do not count.

    Raises:
        UserError: nothing to judge: no faces, numbers that are not finite, or no volume.
    """
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    if not len(corners) or not np.isfinite(corners).all():
        raise UserError("the asset has no faces, or corners that are not finite: there is nothing to judge")
    center, radius = frame(corners.reshape(-1, 3))
    corners = (corners - center) * (REACH / max(radius, 1e-9))
    solid = solid_cells(corners, FINE)
    if solid.sum() < 8:
        raise UserError("the asset encloses no volume: there is nothing to judge")
    points, normals, colors = _surface(mesh, corners, 4 * POINTS, rng)
    shown = _in_the_open(solid, points, normals)
    points, colors = points[shown][:POINTS], colors[shown][:POINTS]
    return Shape(points, colors, solid)


def _surface(
    mesh: Mesh, corners: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, unit normals and colours, [count, 3] each, even by area."""
    edges = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    doubled = np.linalg.norm(edges, axis=1)
    chosen = rng.choice(len(corners), count, p=doubled / doubled.sum())
    u, v = np.sqrt(rng.random(count)), rng.random(count)
    weights = np.stack([1 - u, u * (1 - v), u * v], 1)
    points = np.einsum("nk,nkc->nc", weights, corners[chosen])
    normals = edges[chosen] / doubled[chosen, None]
    if mesh.texture is not None and mesh.uv is not None:
        height, width = mesh.texture.shape[:2]
        place = np.einsum("nk,nkc->nc", weights, mesh.uv[mesh.faces[chosen]])
        column = np.clip((place[:, 0] * width).astype(int), 0, width - 1)
        row = np.clip(((1 - place[:, 1]) * height).astype(int), 0, height - 1)
        colors = mesh.texture[row, column]
    elif mesh.colors is not None:
        colors = np.einsum("nk,nkc->nc", weights, mesh.colors[mesh.faces[chosen]])
    else:
        colors = np.full((count, 3), 0.5)  # as every viewer shows it: grey
    return points, normals, np.asarray(colors, np.float64)


def _in_the_open(solid: np.ndarray, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Which surface points [N, 3] have open air beside them, [N] bool."""
    regions, _ = label(~solid)
    air = binary_dilation(regions == regions[0, 0, 0])
    open_air = np.zeros(len(points), bool)
    for side in (1.0, -1.0):
        cells = np.floor((points + side * (2 / FINE) * normals + 1) * (FINE / 2)).astype(int)
        open_air |= air[tuple(np.clip(cells, 0, FINE - 1).T)] & ~solid[tuple(np.clip(cells, 0, FINE - 1).T)]
    return open_air if open_air.any() else np.ones(len(points), bool)
