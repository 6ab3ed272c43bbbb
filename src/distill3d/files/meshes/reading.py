"""Any mesh file -> a mesh in the project's world, or one line that says what is wrong with the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.files.meshes.gltf_reading import read_gltf
from distill3d.files.meshes.joining import join
from distill3d.files.meshes.limits import MOST_BYTES, MOST_TEXT, BadMesh, check_counts, read_bounded
from distill3d.files.meshes.obj_reading import read_obj
from distill3d.files.meshes.parts import Parts
from distill3d.files.meshes.ply_reading import read_ply
from distill3d.files.meshes.repairing import repaired
from distill3d.files.meshes.stl_reading import is_binary_stl, read_stl
from distill3d.files.meshes.texture_reading import PictureBudget

Up = Literal["y", "z"]
UP: dict[str, Up] = {
    "glb": "y",
    "gltf": "y",
    "obj": "y",
    "ply": "z",
    "stl": "z",
}  # the axis that files of each kind mean
TEXTS = ("gltf", "obj")


@dataclass(frozen=True)
class LoadedMesh:
    """A mesh out of a file.

    Args:
        mesh: in the project's axes, in the file's own units and place (see `Mesh.in_unit_ball`).
        kind: glb, gltf, obj, ply or stl.
        notices: what was put right or left out, and what is unusual about it; a line each, none for a sound file.
    """

    mesh: Mesh
    kind: str
    notices: list[str] = field(default_factory=list)


def read_mesh(path: str | Path, up: Up | None = None) -> LoadedMesh:
    """Reads OBJ (with MTL and pictures), GLB, glTF, PLY and STL.

    The parsers are this package's own: trimesh, against which the tests compare them on sound files, reads indices as
    far as it can and goes on, ignores sparse and normalised accessors, and refuses binary PLY with mixed polygons.

    A file's content decides what it is; a name that says otherwise is an error. Faults that would make the picture a
    lie are errors, harmless ones are put right and listed: see `repairing`. Time and memory are bounded by the file's
    length, and by `limits`.

    Args:
        up: the axis that points up in the file; by default y for OBJ and glTF, z for PLY and STL. With y, the front
            is +z, as in glTF.
    Raises:
        UserError: the file is not there, none of these, truncated, damaged, too large, or names files outside its
            folder; one line with the file's name, and where in it the fault lies.
    """
    path = Path(path)
    try:
        kind = _kind_by_name(path)
        data = read_bounded(path, MOST_TEXT if kind in TEXTS else MOST_BYTES)
        content = _kind_by_content(data)
        if content not in (None, kind):
            raise BadMesh(f"its name says {kind.upper()}, its content {content.upper()}; rename it")
        found = _read(kind, data, path)
        check_counts(sum(len(p.positions) for p in found.parts), sum(len(p.faces) for p in found.parts))
        if not sum(len(part.faces) for part in found.parts):
            raise BadMesh("it holds no faces")
        part, remarks = repaired(join(found))
    except BadMesh as fault:
        raise UserError(f"{path}: {' '.join(str(fault).split())}") from fault
    axes = [2, 0, 1] if (up or UP[kind]) == "y" else [0, 1, 2]  # x, y, z of glTF are y, z, x of the world
    picture = part.material.picture
    colors = part.colors
    if colors is not None and not np.isfinite(colors).all():
        remarks.append("some vertex colours are not finite; they are set to 0")
        colors = np.nan_to_num(colors, posinf=0.0, neginf=0.0)
    mesh = Mesh(
        part.positions[:, axes],
        part.faces,
        None if colors is None else colors.clip(0, 1).astype(np.float32),
        None if part.uv is None else part.uv.astype(np.float32),
        None if picture is None or part.uv is None else picture.astype(np.float32) / np.float32(255),
        name=found.name if found.name != "asset" else path.stem,
    )
    return LoadedMesh(mesh, kind, [*found.notices, *remarks])


def _read(kind: str, data: bytes, path: Path) -> Parts:
    pictures = PictureBudget()
    if kind in ("glb", "gltf"):
        return read_gltf(data, path, pictures, binary=kind == "glb")
    if kind == "obj":
        return read_obj(data, path, pictures)
    return read_ply(data, path, pictures) if kind == "ply" else read_stl(data)


def _kind_by_name(path: Path) -> str:
    kind = path.suffix.lower().removeprefix(".")
    if kind not in UP:
        raise BadMesh(f"a mesh file's name ends in one of: {', '.join(UP)}")
    return kind


def _kind_by_content(data: bytes) -> str | None:
    """What the first bytes say; None for an OBJ, and for what is nothing known."""
    if data[:4] == b"glTF":
        return "glb"
    if data[:4] in (b"ply\n", b"ply\r"):
        return "ply"
    if is_binary_stl(data):
        return "stl"
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:1] == b"{":
        return "gltf"
    if start[:6].lower() == b"solid " and b"facet" in data[:4096]:
        return "stl"
    return None
