"""From what a renderer learnt to files that other programs open."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.core.rendering import Rendering
from distill3d.files.atomic import write_bytes
from distill3d.files.captures import Normalization
from distill3d.files.glb import write_glb
from distill3d.files.obj import write_obj
from distill3d.files.ply import write_ply
from distill3d.geometry.bake import bake, query_colors
from distill3d.geometry.compare import compare_renderings
from distill3d.geometry.normals import vertex_normals
from distill3d.geometry.unwrap import unwrap
from distill3d.renderers.base import Renderer
from distill3d.renderers.mesh_picture import render_mesh
from distill3d.run.asset_surface import asset_surface

FORMATS = ("glb", "obj", "ply")
VIEWS, VIEW_SIZE = 8, 96  # of the comparison


@dataclass
class AssetReport:
    """What was made, in numbers.

    Args:
        level: density of the surface, per world unit; None where the renderer has a surface of its own.
        rule: how it was found.
        floaters, cavities: pieces removed.
        faces_before, faces: triangles before and after decimation.
        seconds: of each stage.
        color_difference: mean absolute difference between pictures of the mesh and of the renderer, 0..1, over pixels
            where both show the object, unlit, 8 views.
        silhouette_iou: intersection over union of the two silhouettes over the same views.
        paths: files by format; the OBJ's material and texture lie beside it.
        mesh: as written to GLB and OBJ, with its texture, but in the renderer's world (see `write_asset`, `placing`).
    """

    level: float | None
    rule: str
    floaters: int
    cavities: int
    faces_before: int
    faces: int
    seconds: dict[str, float]
    color_difference: float
    silhouette_iou: float
    paths: dict[str, Path]
    mesh: Mesh = field(repr=False)

    def numbers(self) -> dict[str, Any]:
        """As JSON can hold it: all but the mesh, paths by file name."""
        plain = {k: v for k, v in asdict(self).items() if k != "mesh"}
        return {**plain, "paths": {kind: path.name for kind, path in self.paths.items()}}


def write_asset(
    renderer: Renderer,
    folder: Path,
    *,
    resolution: int = 128,
    faces: int = 40_000,
    texture_size: int = 1024,
    formats: tuple[str, ...] = ("glb",),
    name: str = "asset",
    smoothing: int = 0,
    placing: Normalization | None = None,
    progress: Callable[[str], object] | None = None,
) -> AssetReport:
    """Meshes, paints and writes `folder/asset.glb` (and the other formats), and `asset.json` with the report.

    Args:
        renderer: offers `own_surface` or `density_at`, `color_at` and pictures; meanwhile in evaluation mode.
        resolution: grid points along each side of the cube. faces: the budget of triangles.
        texture_size: pixels along a side. formats: of glb, obj, ply.
        name: what the asset shows, for the nodes in the files.
        smoothing: rounds of Taubin smoothing, against the stairs of a coarse grid.
        placing: how the scene was moved into the unit ball, which the files undo.
        progress: called with the name of each stage as it begins.
    Raises:
        UserError: an unknown format or a number out of range (before any work), an empty or exploded density, or a
            file that cannot be written.
    """
    check_export(resolution, faces, texture_size, formats)
    clock = _Clock(progress)
    color_at = on_its_device(renderer, renderer.color_at)
    training = renderer.training
    renderer.eval()
    try:
        with torch.no_grad():
            with clock("surface"):
                found = asset_surface(renderer, resolution, faces, smoothing, name)
                surface = found.mesh
            with clock("unwrapping"):
                flat = surface if surface.uv is not None else unwrap(surface, texture_size)
            with clock("baking"):
                mesh = flat if flat.texture is not None else bake(flat, color_at, texture_size, found.depth(flat))
            paths: dict[str, Path] = {}
            with clock("files"):
                placed = mesh if placing is None else placing.undo_mesh(mesh)
                normals = vertex_normals(placed.vertices, placed.faces)
                if "obj" in formats:
                    paths["obj"] = write_obj(placed, folder / "asset.obj", normals)[0]
                if "ply" in formats:
                    paths["ply"] = folder / "asset.ply"
                    painted = with_vertex_colors(surface, color_at, found.depth(surface))
                    write_ply(painted if placing is None else placing.undo_mesh(painted), paths["ply"])
                if "glb" in formats:
                    paths["glb"] = folder / "asset.glb"
                    write_glb(placed, paths["glb"], normals)
            with clock("comparison"):
                cameras = comparison_cameras()
                agreement = compare_renderings(render_mesh(mesh, cameras), albedo_pictures(renderer, cameras))
    finally:
        renderer.train(training)
    report = AssetReport(
        found.level,
        found.rule,
        found.floaters,
        found.cavities,
        found.faces_before,
        len(mesh.faces),
        clock.seconds,
        agreement.color_difference,
        agreement.silhouette_iou,
        paths,
        mesh,
    )
    write_bytes(folder / "asset.json", (json.dumps(report.numbers(), indent=1) + "\n").encode())
    return report


def check_export(resolution: int, faces: int, texture_size: int, formats: tuple[str, ...]) -> None:
    """Says early that an export cannot work.

    Raises:
        UserError: names the value and what it could be.
    """
    unknown = [f for f in formats if f not in FORMATS]
    if unknown:
        raise UserError(f"unknown export format {unknown[0]!r} (one of: {', '.join(FORMATS)})")
    for what, value, low, high in (
        ("export resolution", resolution, 16, 512),
        ("face budget", faces, 100, 200_000),
        ("texture size", texture_size, 64, 8192),
    ):
        if not low <= value <= high:
            raise UserError(f"{what} {value} is out of range ({low} to {high})")


def comparison_cameras() -> Cameras:
    """8 views all around, alternately from a little above and from higher up."""
    azimuth = torch.arange(VIEWS) * (2 * torch.pi / VIEWS)
    return Cameras.orbit(azimuth, torch.tensor([0.2, 0.6]).repeat(VIEWS // 2), 3.2, 0.75, VIEW_SIZE)


def albedo_pictures(renderer: Renderer, cameras: Cameras) -> Rendering:
    """The renderer's unlit pictures on black, one camera at a time to keep memory small."""
    device = device_of(renderer)
    black = torch.zeros(3, device=device)
    views = [renderer(cameras[k].to(device), background=black) for k in range(len(cameras))]
    rgb, alpha, depth = (torch.cat([getattr(view, part) for view in views]) for part in ("rgb", "alpha", "depth"))
    return Rendering(rgb, alpha, depth)


def device_of(renderer: Renderer) -> torch.device:
    return next((p.device for p in renderer.parameters()), torch.device("cpu"))


def on_its_device(renderer: Renderer, field: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A field of the renderer, for points that lie on the CPU."""
    device = device_of(renderer)
    return lambda points: field(points.to(device))


def with_vertex_colors(mesh: Mesh, color_at: Callable[[Tensor], Tensor], depth: np.ndarray | None) -> Mesh:
    """The mesh with the colour that the eye finds at each vertex, `depth` [V] below it."""
    places = mesh.vertices
    if depth is not None:
        places = places - vertex_normals(mesh.vertices, mesh.faces) * np.float32(depth)[:, None]
    return Mesh(mesh.vertices, mesh.faces, query_colors(color_at, places), name=mesh.name)


class _Clock:
    def __init__(self, progress: Callable[[str], object] | None) -> None:
        self.seconds: dict[str, float] = {}
        self.progress = progress

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        if self.progress is not None:
            self.progress(stage)
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - start, 3)
