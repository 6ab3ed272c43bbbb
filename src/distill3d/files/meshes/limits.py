"""What a mesh file may ask for, and what is said when it asks for more.

A file is judged by its length: whatever it declares must fit into the bytes that are there, so that a header of a
kilobyte cannot ask for gigabytes. On top of that stand these bounds, far above what a scene of this program can use.
"""

from __future__ import annotations

from pathlib import Path

MOST_BYTES = 1 << 30  # of a binary file, or of a buffer beside one
MOST_TEXT = 1 << 28  # of a text file: its numbers take some twenty times their length while they are read
MOST_FACES = 10_000_000
MOST_VERTICES = 30_000_000


class BadMesh(Exception):
    """What is wrong with a file, in words that go after its name: `read_mesh` makes a `UserError` of it."""


def read_bounded(path: Path, most: int) -> bytes:
    """The bytes of a plain file.

    Raises:
        BadMesh: it is not there, no plain file (a pipe would never end), empty, over `most` bytes, or unreadable.
    """
    if not path.exists():
        raise BadMesh("there is no such file")
    if not path.is_file():
        raise BadMesh("it is not a file" if not path.is_dir() else "it is a folder")
    try:
        size = path.stat().st_size
        if size > most:
            raise BadMesh(f"it has {size >> 20} MiB, more than the {most >> 20} MiB that are read")
        with path.open("rb") as file:
            data = file.read(size)  # `read(most)` would take that much memory at once
    except OSError as error:
        raise BadMesh(f"it cannot be read ({error.strerror or error})") from error
    if not data:
        raise BadMesh("it is empty")
    return data


def check_counts(vertices: int, faces: int) -> None:
    """Says that a mesh is too large before memory is taken for it."""
    if faces > MOST_FACES:
        raise BadMesh(f"it has {faces:,} triangles, more than the {MOST_FACES:,} that are read; decimate it first")
    if vertices > MOST_VERTICES:
        raise BadMesh(f"it has {vertices:,} vertices, more than the {MOST_VERTICES:,} that are read; decimate it first")
