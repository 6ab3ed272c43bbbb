"""Wavefront OBJ with its material and texture beside it."""

from __future__ import annotations

import io
import re
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.files.atomic import written
from distill3d.files.glb import y_up
from distill3d.files.pictures import png


def write_obj(mesh: Mesh, path: Path, normals: np.ndarray | None = None) -> list[Path]:
    """Writes NAME.obj, and for a textured mesh NAME.mtl and NAME.png: all of them whole, or none.

    y up, as most programs expect; one world unit is one unit. Without a texture, vertex colours follow the positions
    (the widespread extension `v x y z r g b`).

    Args:
        mesh: at least one face.
        normals: [V, 3] unit length, world axes, or None.
    Returns:
        the files.
    Raises:
        UserError: one cannot be written.
    """
    stem = path.stem
    if re.search(r"\s", stem):
        raise UserError(f"{path.name}: an OBJ file's name cannot hold spaces, its material would not be found")
    textured = mesh.texture is not None and mesh.uv is not None
    name = re.sub(r"\s+", "_", mesh.name.strip()) or "asset"
    text = io.StringIO()
    text.write(f"# distill3d\n{f'mtllib {stem}.mtl' if textured else ''}\no {name}\n".replace("\n\n", "\n"))
    positions, form = y_up(mesh.vertices), "v %.7g %.7g %.7g"  # significant digits: a mesh may be tiny, or far away
    if mesh.colors is not None and not textured:
        positions, form = np.concatenate([positions, mesh.colors], 1), form + " %.4f %.4f %.4f"
    np.savetxt(text, positions, form)
    if textured:
        assert mesh.uv is not None
        np.savetxt(text, mesh.uv, "vt %.6f %.6f")
    if normals is not None:
        np.savetxt(text, y_up(normals), "vn %.4f %.4f %.4f")
    if textured:
        text.write(f"usemtl {name}\n")
    corner = {(False, False): "{0}", (True, False): "{0}/{0}", (False, True): "{0}//{0}", (True, True): "{0}/{0}/{0}"}
    pattern = corner[textured, normals is not None].replace("{0}", "%d")
    repeats = pattern.count("%d")
    np.savetxt(text, np.repeat(mesh.faces + 1, repeats, axis=1), "f " + " ".join([pattern] * 3))
    files = {path: text.getvalue().encode()}
    if textured:
        material = f"newmtl {name}\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nd 1\nillum 1\nmap_Kd {stem}.png\n"
        assert mesh.texture is not None
        files |= {path.with_suffix(".mtl"): material.encode(), path.with_suffix(".png"): png(mesh.texture)}
    with ExitStack() as stack:  # all are written before the first takes its name; the OBJ takes it last
        for file, data in files.items():
            stack.enter_context(written(file)).write_bytes(data)
    return list(files)
