"""Stanford PLY, text and binary: triangles, polygons and strips, colours, texture coordinates."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from distill3d.files.meshes.beside import MissingFile, read_beside
from distill3d.files.meshes.limits import MOST_TEXT, BadMesh, check_counts
from distill3d.files.meshes.parts import Material, Part, Parts
from distill3d.files.meshes.ply_header import PlyHeader, read_ply_header
from distill3d.files.meshes.ply_rows import Lists, Table, binary_tables, text_tables
from distill3d.files.meshes.polygons import fan_corners
from distill3d.files.meshes.texture_reading import MOST_BYTES, PictureBudget

INDICES = ("vertex_indices", "vertex_index")
TEXCOORDS = (("u", "v"), ("s", "t"), ("texture_u", "texture_v"))
COLORS = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))


def read_ply(data: bytes, path: Path, pictures: PictureBudget) -> Parts:
    """The surface of a PLY.

    Elements and properties that say nothing about a surface are skipped, whatever they are called. Polygons become
    fans, the strips of the Stanford scans triangles. Colours are taken from the vertices, else from the faces; texture
    coordinates from the corners of the faces (MeshLab), else from the vertices, with the picture that the header names.

    Raises:
        BadMesh: declared and present data differ, an index is out of range, there are no faces, or it holds Gaussian
            splats, which have none.
    """
    header = read_ply_header(data)
    if header.holds_splats:
        raise BadMesh("it holds Gaussian splats, not a mesh")
    if not header.order and len(data) > MOST_TEXT:
        raise BadMesh(f"it is a text of {len(data) >> 20} MiB, more than the {MOST_TEXT >> 20} MiB that are read")
    tables = binary_tables(data, header) if header.order else text_tables(data, header)
    vertex = tables.get("vertex", {})
    for axis in "xyz":
        if not isinstance(vertex.get(axis), np.ndarray):
            raise BadMesh(f"its vertices have no property {axis}")
    with np.errstate(invalid="ignore"):  # what is not a number is refused later
        positions = np.stack([_column(vertex, axis) for axis in "xyz"], -1).astype(np.float64)
    polygons, face = _polygons(tables, len(positions))
    corners = fan_corners(polygons.sizes)
    faces = polygons.values[corners].astype(np.int64)
    owner = np.repeat(np.arange(len(polygons.sizes)), np.maximum(polygons.sizes - 2, 0))
    check_counts(len(positions), len(faces))
    if not len(faces):
        raise BadMesh("it holds no faces")

    part = Part(positions, faces)
    face_uv = face.get("texcoord")
    names = next((pair for pair in TEXCOORDS if all(isinstance(vertex.get(n), np.ndarray) for n in pair)), None)
    colors, face_colors = _colors(vertex), _colors(face)
    if isinstance(face_uv, Lists) and np.array_equal(face_uv.sizes, 2 * polygons.sizes):
        part = _unshared(part)
        part.uv = face_uv.values.reshape(-1, 2)[corners].reshape(-1, 2).astype(np.float64)
    elif names is not None:
        part.uv = np.stack([_column(vertex, name) for name in names], -1).astype(np.float64)
    if colors is not None:
        part.colors = colors if len(part.positions) == len(colors) else colors[faces.reshape(-1)]
    elif face_colors is not None:
        part = part if len(part.positions) == 3 * len(faces) else _unshared(part)
        part.colors = np.repeat(face_colors[owner], 3, axis=0)
    found = Parts([part])
    _texture(header, part, path, pictures, found)
    return found


def _column(table: Table, name: str) -> np.ndarray:
    column = table[name]
    assert isinstance(column, np.ndarray)
    return column


def _polygons(tables: dict[str, Table], vertices: int) -> tuple[Lists, Table]:
    """The corners of all polygons, checked, and the table that they come from."""
    face = tables.get("face", {})
    lists = next((face[name] for name in INDICES if isinstance(face.get(name), Lists)), None)
    if lists is None:
        strips = next((t for t in (tables.get("tristrips", {}).get(name) for name in INDICES) if t is not None), None)
        if not isinstance(strips, Lists):
            raise BadMesh("it holds no faces")
        lists, face = _strips(strips), {}
    assert isinstance(lists, Lists)
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero((lists.values < 0) | (lists.values >= vertices) | (lists.values % 1 != 0))
    if len(wrong):
        row = int(np.searchsorted(np.cumsum(lists.sizes), wrong[0], "right"))
        value = lists.values[wrong[0]]
        raise BadMesh(f"face {row} names vertex {value:g}, of which there are {vertices:,}")
    return lists, face


def _strips(strips: Lists) -> Lists:
    """Strips of triangles, each ended by -1, every second triangle turned around -> triangles."""
    values = np.insert(strips.values.astype(np.int64), np.cumsum(strips.sizes), -1)  # a row's end ends a strip too
    position = np.arange(len(values))
    start = np.maximum.accumulate(np.where(values == -1, position + 1, 0))  # of the strip that goes on after here
    corners = np.stack([values[:-2], values[1:-1], values[2:]], -1)
    turned = (position - start)[:-2] % 2 == 1
    corners[turned] = corners[turned][:, [1, 0, 2]]
    triangles = corners[(corners != -1).all(-1)]
    return Lists(np.full(len(triangles), 3), triangles.reshape(-1))


def _colors(table: Table) -> np.ndarray | None:
    """[N, 3] in 0..1: bytes and shorts are divided by their largest value, fractions are taken as they are."""
    for names in COLORS:
        columns = [table.get(name) for name in names]
        if all(isinstance(column, np.ndarray) for column in columns):
            values = np.stack(columns, -1)  # type: ignore[arg-type]
            largest = {"u1": 255.0, "u2": 65535.0}.get(values.dtype.str[1:], 1.0)
            if values.dtype.kind in "if" and values.size and np.nanmax(values) > 1:  # bytes in another type
                largest = 255.0
            return values.astype(np.float64) / largest
    return None


def _unshared(part: Part) -> Part:
    """Every corner a vertex of its own."""
    corners = part.faces.reshape(-1)
    return Part(part.positions[corners], np.arange(len(corners)).reshape(-1, 3), None, None, part.material)


def _texture(header: PlyHeader, part: Part, path: Path, pictures: PictureBudget, found: Parts) -> None:
    if header.texture is None or part.uv is None:
        part.uv = None
        return
    try:
        picture = pictures.decode(read_beside(path, header.texture, MOST_BYTES), header.texture)
        part.material = Material(picture=picture)
    except MissingFile as fault:
        found.note(f"{fault}; it is left without a texture")
        part.uv = None
    found.notices += pictures.notices
