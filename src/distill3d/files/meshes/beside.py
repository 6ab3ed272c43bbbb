"""Files that a mesh file names: only plain files in its own folder or below are opened, and nothing is fetched."""

from __future__ import annotations

import re
from pathlib import Path

from distill3d.files.meshes.limits import BadMesh, read_bounded


class MissingFile(BadMesh):
    """A file that is named is not there; whether that matters is for the caller to say."""


def read_beside(mesh: Path, name: str, most: int) -> bytes:
    """The bytes of the file `name` that `mesh` refers to.

    Args:
        mesh: the file that names it. name: relative, with slashes of either kind. most: bytes.
    Raises:
        BadMesh: the name is absolute, a URL, or leads out of the folder (by "..", or by a link); or the file is too
            large or unreadable. MissingFile: it is not there.
    """
    shown = repr(name if len(name) <= 80 else name[:77] + "...")
    plain = name.replace("\\", "/")
    if not plain.strip() or any(ord(letter) < 32 for letter in plain) or len(plain) > 1000:
        raise BadMesh(f"it names a file {shown}, which is no file's name")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", plain):
        raise BadMesh(f"it names {shown}, which is not a file; nothing is fetched")
    folder = mesh.parent.resolve()
    outside = BadMesh(
        f"it names {shown}, which lies outside its folder; copy that beside it and name it without a path"
    )
    if plain.startswith("/") or re.match(r"[A-Za-z]:", plain):
        raise outside
    try:
        path = (folder / plain).resolve()
        if not path.is_relative_to(folder):
            raise outside
        if not path.exists():
            raise MissingFile(f"it names {shown}, which is not there")
        return read_bounded(path, most)
    except MissingFile:
        raise
    except BadMesh as fault:
        raise fault if fault is outside else BadMesh(f"it names {shown}: {fault}") from None
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name that is too long
        raise BadMesh(f"it names {shown}, which cannot be opened") from error
