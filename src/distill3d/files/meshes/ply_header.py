"""The header of a Stanford PLY (Turk, "The PLY polygon file format", 1994)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from distill3d.files.meshes.limits import BadMesh

LONGEST = 1 << 16  # bytes of a header
TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
SPLATS = {"f_dc_0", "opacity", "scale_0", "rot_0"}  # what the vertices of a 3D Gaussian splatting file have


@dataclass(frozen=True)
class Property:
    """One column: `kind` is a numpy type, `count` that of a list's length, or None for a single value."""

    name: str
    kind: str
    count: str | None = None


@dataclass
class Element:
    """One table of the file."""

    name: str
    rows: int
    properties: list[Property] = field(default_factory=list)

    @property
    def least(self) -> int:
        """Bytes that a row takes at least, in a binary file."""
        return sum(np.dtype(p.count or p.kind).itemsize for p in self.properties)


@dataclass
class PlyHeader:
    """What a file says about itself.

    Args:
        order: "<" or ">", or "" for a text. body: offset of the first byte after the header.
        texture: the picture that a comment names, as MeshLab writes it, or None.
    """

    order: str
    elements: list[Element]
    body: int
    texture: str | None = None

    @property
    def holds_splats(self) -> bool:
        vertex = next((e for e in self.elements if e.name == "vertex"), None)
        return vertex is not None and {p.name for p in vertex.properties} >= SPLATS


def read_ply_header(data: bytes, room: int | None = None) -> PlyHeader:
    """Reads and checks a header; a declared number of rows must fit into the bytes that follow.

    Args:
        data: the file, or its beginning; then `room` says how many bytes of rows follow the header at most.
    Raises:
        BadMesh: anything unknown, said twice, out of place, or larger than the file.
    """
    end = re.search(rb"\nend_header[ \t]*\r?\n", data[:LONGEST])
    if end is None:
        raise BadMesh(f"its header has no end_header in the first {LONGEST >> 10} KiB")
    lines = data[: end.start()].decode("latin-1").splitlines()
    if not lines or lines[0].strip() != "ply":
        raise BadMesh('its first line is not "ply"')
    header = PlyHeader("?", [], end.end())
    for number, line in enumerate(lines[1:], 2):
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            if len(words) > 2 and words[1].lower() == "texturefile":
                header.texture = line.split(None, 2)[2].strip()
            continue
        try:
            _statement(header, words)
        except ValueError as error:
            raise BadMesh(f"header line {number}: {line.strip()[:60]!r}: {error}") from None
    if header.order == "?":
        raise BadMesh("its header names no format")
    room = len(data) - header.body if room is None else room
    for element in header.elements:
        if element.rows and not element.properties:
            raise BadMesh(f"its header gives {element.name} no property")
        least = element.least if header.order else 2 * len(element.properties)  # a digit and a space
        if element.rows * least > room + 1:
            raise BadMesh(
                f"its header declares {element.rows:,} rows of {element.name}, "
                f"which take {element.rows * least:,} bytes or more; {room:,} follow"
            )
    return header


def _statement(header: PlyHeader, words: list[str]) -> None:
    if words[0] == "format":
        orders = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
        if len(words) != 3 or words[1] not in orders or words[2] != "1.0" or header.order != "?":
            raise ValueError("a format is ascii, binary_little_endian or binary_big_endian, then 1.0, said once")
        header.order = orders[words[1]]
    elif words[0] == "element":
        if len(words) != 3 or not re.fullmatch(r"\d{1,18}", words[2]):
            raise ValueError("an element wants a name and a number of rows")
        if any(element.name == words[1] for element in header.elements):
            raise ValueError("this element stands there twice")
        header.elements.append(Element(words[1], int(words[2])))
    elif words[0] == "property":
        if not header.elements:
            raise ValueError("a property before the first element")
        is_list = words[1:2] == ["list"]
        kinds = words[2:4] if is_list else words[1:2]
        if len(words) != (5 if is_list else 3):
            raise ValueError("a property wants a type and a name, or list, two types and a name")
        for kind in kinds:
            if kind not in TYPES:
                raise ValueError(f"{kind[:20]!r} is no type (one of: {', '.join(TYPES)})")
        if is_list and TYPES[kinds[0]][0] == "f":
            raise ValueError("the length of a list cannot be a fraction")
        properties = header.elements[-1].properties
        if any(p.name == words[-1] for p in properties):
            raise ValueError("this property stands there twice")
        properties.append(Property(words[-1], TYPES[kinds[-1]], TYPES[kinds[0]] if is_list else None))
    else:
        raise ValueError(f"{words[0][:20]!r} is not a statement of a header")
