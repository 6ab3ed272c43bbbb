"""The statements of a Wavefront OBJ that make up its surface, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from distill3d.files.meshes.limits import BadMesh, check_counts
from distill3d.files.meshes.polygons import fan_corners


@dataclass
class Surface:
    """What an OBJ says.

    Args:
        vertices: [V, 3], or [V, 6] with a colour each. texcoords: [T, 2].
        corners, corner_uv: [F, 3] indices of triangles into the two; -1 where a corner has no texture coordinate.
        material: [F], index into `materials`, whose first name is "" for triangles before any `usemtl`.
        libraries: what stands after each `mtllib`. name: of the first object.
    """

    vertices: np.ndarray
    texcoords: np.ndarray
    corners: np.ndarray
    corner_uv: np.ndarray
    material: np.ndarray
    materials: list[str]
    libraries: list[str]
    name: str


@dataclass
class _Rows:
    """The lines of one kind: their numbers in the file, and what stands after the key."""

    lines: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


def read_statements(text: str) -> Surface:
    """Vertices, texture coordinates, faces and the names of materials; everything else is left out.

    Polygons become fans of triangles around their first corner.

    Raises:
        BadMesh: a number that is none, an index out of range, a face with fewer than 3 corners; names the line.
    """
    v, vt, f = _Rows(), _Rows(), _Rows()
    known: list[tuple[int, int]] = []  # vertices and texture coordinates before each face
    face_material, materials, current = [], {"": 0}, 0
    libraries: list[str] = []
    name = ""
    for number, line in enumerate(text.replace("\\\r\n", " ").replace("\\\n", " ").split("\n"), 1):
        key, _, rest = line.lstrip().replace("\t", " ").partition(" ")
        if key == "v":
            v.lines.append(number)
            v.texts.append(rest)
        elif key == "vt":
            vt.lines.append(number)
            vt.texts.append(rest)
        elif key == "f":
            f.lines.append(number)
            f.texts.append(rest)
            known.append((len(v.lines), len(vt.lines)))
            face_material.append(current)
        elif key == "usemtl":
            current = materials.setdefault(" ".join(rest.split()), len(materials))
        elif key == "mtllib":
            libraries.append(rest.strip())
        elif key == "o":
            name = name or " ".join(rest.split())
    if not f.lines:
        raise BadMesh("it holds no faces")
    vertices, texcoords = _vertices(v), _numbers(vt, 1, 2)
    corners, corner_uv, sizes = _faces(f, np.array(known), (len(v.lines), len(vt.lines)))
    check_counts(len(vertices), int((sizes - 2).sum()))
    fans = fan_corners(sizes)
    material = np.repeat(face_material, sizes - 2)
    return Surface(vertices, texcoords, corners[fans], corner_uv[fans], material, list(materials), libraries, name)


def _vertices(rows: _Rows) -> np.ndarray:
    """[V, 3], or [V, 6] where every vertex has a colour behind its place."""
    words = len(rows.texts[0].split()) if rows.texts else 3
    return _numbers(rows, 3, 6) if words >= 6 and all(len(t.split()) >= 6 for t in rows.texts) else _numbers(rows, 3, 3)


def _numbers(rows: _Rows, least: int, wanted: int) -> np.ndarray:
    """The first `wanted` numbers of each row, 0 where there are fewer, but at least `least`.

    All rows at once where they are alike, which is ten times quicker; else one by one.
    """
    if not rows.texts:
        return np.zeros((0, wanted))
    words = " ".join(rows.texts).split()
    width = len(rows.texts[0].split())
    if width >= max(least, wanted) and all(len(text.split()) == width for text in rows.texts):
        try:
            return np.array(words, np.float64).reshape(-1, width)[:, :wanted]
        except ValueError:
            pass  # the row at fault is found below
    values = np.zeros((len(rows.texts), wanted))
    for row, (number, text) in enumerate(zip(rows.lines, rows.texts, strict=True)):
        fields = text.split("#")[0].split()
        if len(fields) < least:
            raise BadMesh(f"line {number}: {_shown(text)}: {least} numbers should stand here")
        for k, word in enumerate(fields[:wanted]):
            try:
                values[row, k] = float(word)
            except ValueError:
                raise BadMesh(f"line {number}: {word[:20]!r} is not a number") from None
    return values


def _faces(rows: _Rows, known: np.ndarray, counts: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertex and texture indices from 0 up of all corners, one polygon after another, and the polygons' sizes [P]."""
    sizes = np.array([len(text.split()) for text in rows.texts])
    fields = _fields_at_once(rows.texts) if sizes.min() >= 3 else None
    if fields is None:
        fields, sizes = _fields_one_by_one(rows)
    index = []
    for column, (what, count) in enumerate((("vertex", counts[0]), ("texture coordinate", counts[1]))):
        if column == 1 and fields.shape[1] == 1:
            index.append(np.full(len(fields), -1))
            continue
        values = fields[:, column]
        before = np.repeat(known[:, column], sizes)
        from_zero = np.where(values > 0, values - 1, before + values)  # negative ones count from the latest down
        absent = (values == 0) & (column == 1)
        wrong = np.flatnonzero(((from_zero < 0) | (from_zero >= count) | (values == 0)) & ~absent)
        if len(wrong):
            line = np.repeat(rows.lines, sizes)[wrong[0]]
            raise BadMesh(f"line {line}: a face names {what} {values[wrong[0]]:,}, of which there are {count:,}")
        index.append(np.where(absent, -1, from_zero))
    return index[0], index[1], sizes


def _fields_at_once(texts: list[str]) -> np.ndarray | None:
    """[corners, 1 or 2 or 3] integers where all corners are written alike (a, a/b, a/b/c, a//c), else None."""
    joined = " ".join(texts)
    words = joined.split()
    slashes = words[0].count("/")
    pair = "//" in words[0]
    if any(word.count("/") != slashes for word in words) or joined.count("//") != pair * len(words):
        return None
    parts = joined.replace("/", " ").split()
    width = slashes + 1 - pair
    if len(parts) != width * len(words):
        return None
    try:
        values = np.array(parts, np.int64).reshape(-1, width)
    except (ValueError, OverflowError):
        return None
    if (values == 0).any() or np.abs(values).max() > 1 << 40:
        return None
    return values[:, :1] if pair else values[:, :2]


def _fields_one_by_one(rows: _Rows) -> tuple[np.ndarray, np.ndarray]:
    """[corners, 2] integers, 0 for a texture coordinate that is not there, and the sizes of the polygons."""
    fields, sizes = [], []
    for number, text in zip(rows.lines, rows.texts, strict=True):
        words = text.split("#")[0].split()
        if len(words) < 3:
            raise BadMesh(f"line {number}: {_shown(text)}: a face wants at least three corners")
        for word in words:
            place, _, rest = word.partition("/")
            texture = rest.partition("/")[0]
            try:
                pair = int(place), int(texture) if texture else 0
            except ValueError:
                raise BadMesh(f"line {number}: {word[:20]!r} is not a corner of a face") from None
            if not pair[0] or max(map(abs, pair)) > 1 << 40 or (texture and not pair[1]):
                raise BadMesh(f"line {number}: {word[:20]!r}: there is no such index")
            fields.append(pair)
        sizes.append(len(words))
    return np.array(fields, np.int64).reshape(-1, 2), np.array(sizes)


def _shown(text: str) -> str:
    return repr(text.strip() if len(text) <= 60 else text[:57].strip() + "...")
