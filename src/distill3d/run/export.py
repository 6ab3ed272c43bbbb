"""A run, a mesh or a splat scene as a file that other programs open: `distill3d export`."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import torch

from distill3d.core.component import nearest
from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.files.glb import write_glb
from distill3d.files.meshes.reading import Up
from distill3d.files.obj import write_obj
from distill3d.files.ply import write_ply
from distill3d.files.stl import write_stl
from distill3d.geometry.bake import bake
from distill3d.geometry.decimate import decimate
from distill3d.geometry.normals import vertex_normals
from distill3d.geometry.unwrap import unwrap
from distill3d.renderers.base import Renderer
from distill3d.run import backend, splats
from distill3d.run.asset import check_export, on_its_device, write_asset
from distill3d.run.mesh_budget import with_vertex_colors, within_budget
from distill3d.run.progress import Progress
from distill3d.run.scene import Scene, chosen_name, open_scene

FORMATS = ("glb", "obj", "ply", "stl")


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        paths: the file, then those that it needs beside it.
        faces: of the mesh; 0 for splats.
        notices: what a person should know, a line each.
    """

    paths: list[Path]
    faces: int
    notices: list[str] = field(default_factory=list)


def export(
    source: str | Path,
    kind: str | None = None,
    out: str | Path | None = None,
    *,
    faces: int | None = None,
    texture: int | None = None,
    resolution: int | None = None,
    up: Up | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Writes a run folder, a mesh file or a splat file as GLB, OBJ, PLY or STL.

    A run's surface is made anew from its newest checkpoint. Splats become a PLY in the 3DGS layout, and a mesh (by
    depth fusion, `Renderer.to_mesh`) in every other format. A mesh file is decimated and painted anew only where it
    has more triangles, or a larger texture, than asked for.

    Args:
        kind: one of `FORMATS`; by default what `out` ends in, else glb.
        out: the file. By default the name of the source with the format's ending, in a run's folder or in the current
            one, with a number added rather than anything overwritten.
        faces: the most triangles. texture: pixels along a side of the texture. By default a run's own settings.
        resolution: grid points along each side of the cube in which a run's surface is looked for.
        up: the axis that points up in a mesh file.
        progress: who shows it; nobody by default.
    Raises:
        UserError: anything that the caller can put right, before any work where that can be known.
    """
    with progress or Progress(quiet=True) as progress:
        kind = chosen_format(kind, out)
        path = Path(source)
        default = path / f"export.{kind}" if path.is_dir() else Path(f"{path.stem}.{kind}")
        check_numbers(faces, texture, resolution)
        target = chosen_name(out, default, progress)
        with backend.reproducible("auto"), torch.no_grad():
            with progress.phase("loading", announced=False):
                scene = open_scene(source, up)
            for line in scene.notices:
                progress(line)
            if isinstance(scene.shape, Renderer) and scene.shape.kind == splats.KIND and kind == "ply":
                splats.write_scene(scene.shape, target, scene.placing)
                return Exported([target], 0, scene.notices)
            with progress.phase("making the mesh"):
                mesh, remarks = as_mesh(scene, faces, texture, resolution, progress)
            if scene.placing is not None:
                mesh = scene.placing.undo_mesh(mesh)
            paths = write_mesh(mesh, target, kind)
        if kind == "stl" and (mesh.texture is not None or mesh.colors is not None):
            remarks.append("STL holds no colours")
        if kind == "ply" and mesh.texture is not None:
            remarks.append("PLY holds colours at its vertices; what the texture shows between them is lost")
        for line in remarks:
            progress(line)
        return Exported(paths, len(mesh.faces), [*scene.notices, *remarks])


def chosen_format(kind: str | None, out: str | Path | None) -> str:
    """The format that was asked for, by name or by the ending of the file."""
    ending = None if out is None else Path(out).suffix.lower().removeprefix(".")
    if kind is not None and kind not in FORMATS:
        raise UserError(f"unknown export format {kind!r}{nearest(kind, FORMATS)}")
    if ending is not None and ending not in FORMATS:
        raise UserError(f"{out}: give a file name that ends in one of: {', '.join('.' + f for f in FORMATS)}")
    if kind is not None and ending is not None and kind != ending:
        raise UserError(f"{out}: the file ends in .{ending} and --format says {kind}")
    return kind or ending or "glb"


def check_numbers(faces: int | None, texture: int | None, resolution: int | None) -> None:
    """Says before any work that a number is out of range; the narrower ranges of runs come when one was opened."""
    for name, value, low, high in (
        ("--faces", faces, 4, 10_000_000),
        ("--texture", texture, 64, 8192),
        ("--resolution", resolution, 16, 512),
    ):
        if value is not None and not low <= value <= high:
            raise UserError(f"{name} is {low:,} to {high:,} (got {value:,})")


def as_mesh(
    scene: Scene, faces: int | None, texture: int | None, resolution: int | None, progress: Progress
) -> tuple[Mesh, list[str]]:
    """The surface of a scene, painted, within the budget; and how it was found."""
    shape, wanted = scene.shape, scene.export
    if isinstance(shape, Mesh):
        mesh = within_budget(shape, faces, texture, progress.stage)
        return mesh, [] if mesh is shape else [f"{len(shape.faces):,} triangles became {len(mesh.faces):,}"]
    faces, texture = faces or wanted.faces, texture or wanted.texture_size
    resolution = resolution or wanted.resolution
    check_export(resolution, faces, texture, ())
    if shape.kind != splats.KIND and _has_surface_or_density(shape):
        with tempfile.TemporaryDirectory() as folder:  # for the report, which belongs to a run's own asset
            made = write_asset(
                shape,
                Path(folder),
                resolution=resolution,
                faces=faces,
                texture_size=texture,
                formats=(),
                name=scene.name,
                smoothing=wanted.smoothing,
                progress=progress.stage,
            )
        return made.mesh, [
            f"{made.faces:,} triangles of {made.faces_before:,}; against the renderer's pictures: mean colour "
            f"difference {made.color_difference:.3f}, silhouette overlap {made.silhouette_iou:.3f}"
        ]
    progress.stage("surface")
    whole = shape.to_mesh(resolution)
    whole.name = scene.name
    if whole.colors is None and whole.texture is None and type(shape).color_at is not Renderer.color_at:
        progress.stage("painting")
        color_at = on_its_device(shape, shape.color_at)
        mesh = bake(unwrap(decimate(whole, faces), texture), color_at, texture)
    else:
        mesh = within_budget(whole, faces, texture, progress.stage)
    scale = 1.0 if scene.placing is None else scene.placing.scale
    remark = f"{len(mesh.faces):,} triangles of {len(whole.faces):,}, from voxels of {2 / resolution / scale:.4g}"
    return mesh, [f"{remark} world units"]


def _has_surface_or_density(renderer: Renderer) -> bool:
    """Whether `write_asset` can make something of a renderer; others have only `to_mesh`."""
    own = type(renderer)
    return own.own_surface is not Renderer.own_surface or own.density_at is not Renderer.density_at


def write_mesh(mesh: Mesh, path: Path, kind: str) -> list[Path]:
    """Writes one file, and what it needs beside it, each whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    normals = vertex_normals(mesh.vertices, mesh.faces) if kind in ("glb", "obj") else None
    if kind == "obj":
        return write_obj(mesh, path, normals)
    if kind == "glb":
        write_glb(mesh, path, normals)
    elif kind == "ply":
        write_ply(with_vertex_colors(mesh), path)
    else:
        write_stl(mesh, path)
    return [path]
