"""Wavefront OBJ with its materials and pictures (Alias|Wavefront, "The Advanced Visualizer", appendix B1, 1995)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from distill3d.files.meshes.beside import MissingFile, read_beside
from distill3d.files.meshes.limits import MOST_TEXT, BadMesh
from distill3d.files.meshes.material_library import MtlEntry, parse_mtl
from distill3d.files.meshes.obj_statements import read_statements
from distill3d.files.meshes.parts import Material, Part, Parts
from distill3d.files.meshes.texture_reading import MOST_BYTES, PictureBudget

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tga")


def read_obj(data: bytes, path: Path, pictures: PictureBudget) -> Parts:
    """The triangles of an OBJ, by material.

    Polygons become fans of triangles around their first corner. Indices may be relative (negative), and corners of
    one file may differ in having texture coordinates. Vertex colours are the widespread `v x y z r g b`. Normals,
    groups, curves and points are left out. Where there are texture coordinates but no material library, the one
    picture beside the file whose name begins with the same word is taken, and a notice says so.

    Raises:
        BadMesh: a number that is none, an index out of range, a face with fewer than 3 corners; names the line.
    """
    if b"\0" in data:
        raise BadMesh("it is not a text file, which an OBJ is")
    said = read_statements(data.decode("utf-8", errors="replace"))
    found = Parts(name=said.name or "asset")
    entries = _libraries(said.libraries, path, found)
    for index, name in enumerate(said.materials):
        chosen = said.material == index
        if not chosen.any():
            continue
        entry = entries.get(name)
        if entry is None and name and said.libraries:
            found.note(f"material {name!r} is described nowhere; it is left grey")
        part = _part(said.vertices, said.texcoords, said.corners[chosen], said.corner_uv[chosen])
        part.material, part.uv = _material(entry, part.uv, path, pictures, found)
        found.parts.append(part)
    if not said.libraries and any(part.uv is not None for part in found.parts):
        _picture_of_the_same_name(found, path, pictures)
    found.notices += pictures.notices
    return found


def _part(vertices: np.ndarray, texcoords: np.ndarray, corners: np.ndarray, corner_uv: np.ndarray) -> Part:
    """Triangles with one vertex for each pair of place and texture coordinate."""
    with_uv = bool((corner_uv >= 0).any())
    pairs = np.stack([corners.reshape(-1), corner_uv.reshape(-1)], -1)
    code = pairs[:, 0] * (len(texcoords) + 1) + pairs[:, 1] + 1
    _, first, faces = np.unique(code, return_index=True, return_inverse=True)
    place, texcoord = pairs[first].T
    uv = None
    if with_uv:
        uv = np.where(texcoord[:, None] >= 0, texcoords[texcoord], 0.0)
    colors = None
    if vertices.shape[1] == 6:
        colors = vertices[place, 3:]
        if np.nanmax(colors, initial=0.0) > 1.0:  # some programs write 0 to 255
            colors = colors / 255.0
    return Part(vertices[place, :3], faces.reshape(-1, 3), uv, colors)


def _libraries(lines: list[str], path: Path, found: Parts) -> dict[str, MtlEntry]:
    """The materials of all libraries; a line names one file, whose name may hold spaces, or several."""
    entries: dict[str, MtlEntry] = {}
    for line in dict.fromkeys(lines):
        for names in ([line], line.split()):
            try:
                for name in names:
                    content = read_beside(path, name, MOST_TEXT).decode("utf-8", errors="replace")
                    entries |= parse_mtl(content, name)
                break
            except MissingFile as fault:
                if names != [line] or len(line.split()) < 2:
                    found.note(f"{fault}; its materials are left grey")
                    break
    return entries


def _material(
    entry: MtlEntry | None, uv: np.ndarray | None, path: Path, pictures: PictureBudget, found: Parts
) -> tuple[Material, np.ndarray | None]:
    if entry is None:
        return Material(), uv
    if entry.picture is None or uv is None:
        return entry.material(None), None
    try:
        picture = pictures.decode(read_beside(path, entry.picture, MOST_BYTES), entry.picture)
    except MissingFile as fault:
        found.note(f"{fault}; that material keeps its plain colour")
        return entry.material(None), None
    return entry.material(picture), uv * entry.scale + entry.offset


def _picture_of_the_same_name(found: Parts, path: Path, pictures: PictureBudget) -> None:
    def word(name: str) -> str:
        return re.split(r"[\W_]", name.lower(), maxsplit=1)[0]

    beside = [
        p for p in sorted(path.parent.iterdir()) if p.suffix.lower() in PICTURES and word(p.stem) == word(path.stem)
    ]
    if len(beside) != 1:
        found.note("it has texture coordinates but names no material; it is left grey")
        return
    picture = pictures.decode(read_beside(path, beside[0].name, MOST_BYTES), beside[0].name)
    material = Material(picture=picture)
    for part in found.parts:
        if part.uv is not None:
            part.material = material
    found.note(f"it names no material; {beside[0].name} beside it is taken as its texture")
