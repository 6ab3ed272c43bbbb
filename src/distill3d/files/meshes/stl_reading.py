"""STL, binary and text (3D Systems, "StereoLithography Interface Specification", 1988)."""

from __future__ import annotations

import struct

import numpy as np

from distill3d.files.meshes.limits import MOST_TEXT, BadMesh, check_counts
from distill3d.files.meshes.parts import Part, Parts

HEADER, TRIANGLE = 84, 50  # bytes


def is_binary_stl(data: bytes) -> bool:
    """Whether the length is the one that the count after the header declares; a text begins with "solid" as well."""
    return len(data) >= HEADER and len(data) == HEADER + TRIANGLE * struct.unpack_from("<I", data, 80)[0]


def read_stl(data: bytes) -> Parts:
    """The triangles of an STL, corners at one place made one vertex. Normals and attribute bytes are left out.

    Raises:
        BadMesh: the count does not fit the length, or the text breaks off or holds what it should not.
    """
    if is_binary_stl(data):
        count = (len(data) - HEADER) // TRIANGLE
        check_counts(0, count)
        kind = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
        corners = np.frombuffer(data, kind, count, HEADER)["corners"].reshape(-1, 3)
    elif data.lstrip()[:5].lower() == b"solid" and b"\0" not in data[:1024]:
        corners = _text(data)
    elif len(data) < HEADER:
        raise BadMesh(f"it is too short for an STL ({len(data)} bytes)")
    else:
        declared = struct.unpack_from("<I", data, 80)[0]
        raise BadMesh(
            f"it declares {declared:,} triangles, which take {HEADER + TRIANGLE * declared:,} bytes, "
            f"and has {len(data):,}"
        )
    if not len(corners):
        raise BadMesh("it holds no faces")
    rows = np.ascontiguousarray(corners, np.float32) + np.float32(0)  # -0 and 0 are one place
    _, first, faces = np.unique(rows.view("V12").reshape(-1), return_index=True, return_inverse=True)
    order = np.argsort(first)  # vertices in the order of the file
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return Parts([Part(rows[first[order]].astype(np.float64), rank[faces].reshape(-1, 3))])


def _text(data: bytes) -> np.ndarray:
    """Corners [3 F, 3] of a text file."""
    if len(data) > MOST_TEXT:
        raise BadMesh(f"it is a text of {len(data) >> 20} MiB, more than the {MOST_TEXT >> 20} MiB that are read")
    corners: list[list[float]] = []
    in_facet, in_solid = 0, False
    for number, line in enumerate(data.decode("latin-1").splitlines(), 1):
        words = line.split()
        key = words[0].lower() if words else ""
        if key == "solid":
            in_solid = True
        elif key == "facet":
            in_facet = len(corners)
        elif key == "vertex":
            try:
                x, y, z = map(float, words[1:])
            except ValueError:
                raise BadMesh(f"line {number}: {line.strip()[:60]!r}: a vertex wants three numbers") from None
            corners.append([x, y, z])
        elif key == "endfacet":
            if len(corners) != in_facet + 3:
                raise BadMesh(f"line {number}: a facet has {len(corners) - in_facet} corners, not 3")
        elif key == "endsolid":
            in_solid = False
        elif key not in ("", "outer", "endloop"):
            raise BadMesh(f"line {number}: {line.strip()[:60]!r} is no statement of an STL")
    if in_solid or len(corners) % 3:
        raise BadMesh("it breaks off: there is no endsolid at its end")
    return np.array(corners, np.float64).reshape(-1, 3)
