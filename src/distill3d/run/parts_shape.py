"""A shape of parts, opened: what `distill3d parts` wrote, or a mesh file that is inverted to parts."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.files.meshes import read_mesh
from distill3d.files.meshes.reading import UP, Up
from distill3d.geometry.closed import loose_edges
from distill3d.geometry.iso_surface import signed_volume
from distill3d.geometry.signed_distance import inside
from distill3d.parts.model import PartModel
from distill3d.parts.part_file import read_parts
from distill3d.parts.parts import Parts
from distill3d.run.progress import Progress
from distill3d.toybox.extent import RADIUS

CELLS = 64  # along each side of the grid that a mesh is inverted from
INVERSION_STEPS = 200
ENDING = ".safetensors"


def check_source(source: str | Path) -> Path:
    """Before any work.

    Raises:
        UserError: nothing that could be a shape of parts or a mesh.
    """
    path = Path(source)
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a shape in it, such as {path / ('shape-0' + ENDING)}")
    if not path.exists():
        raise UserError(f"{path}: there is no such file")
    kinds = (ENDING.removeprefix("."), *UP)
    if path.suffix.lower().removeprefix(".") not in kinds:
        raise UserError(f"{path}: a shape of parts ends in {ENDING}, a mesh in one of: {', '.join(UP)}")
    return path


def open_shape(source: str | Path, model: PartModel, progress: Progress, up: Up | None = None) -> Parts:
    """One shape of parts.

    Args:
        source: a .safetensors that `distill3d parts` wrote, or a mesh, which is moved into the unit ball.
        up: the axis that points up in a mesh file.
    Raises:
        UserError: neither; damaged; of other models; or a mesh that encloses no solid.
    """
    path = check_source(source)
    if path.suffix.lower() != ENDING:
        return _inverted(path, model, progress, up)
    if up is not None:
        raise UserError(f"--up is for mesh files: {path} is a shape of parts, whose axes are known")
    shape = read_parts(path)
    wanted, got = model.network.sizes.intrinsics, shape.intrinsics.shape[1]
    if wanted != got:
        raise UserError(f"{path}: its parts hold {got} numbers and these part models' {wanted}: other models made it")
    return shape


def _inverted(path: Path, model: PartModel, progress: Progress, up: Up | None) -> Parts:
    from distill3d.parts.inversion import invert

    loaded = read_mesh(path, up)
    cells = filled(solid(loaded.mesh, path, progress))
    if not cells.any():
        raise UserError(f"{path}: it is too thin: none of {CELLS} cells along a side has its middle inside")
    with progress.steps(INVERSION_STEPS, first=f"finding the parts of {path.name}"):
        return invert(model.network, cells, INVERSION_STEPS, lambda done, *_: progress.update(done, {}))


def solid(mesh: Mesh, path: Path, progress: Progress) -> Mesh:
    """A mesh that encloses something and faces outwards; says so if it was turned.

    Raises:
        UserError: its surface is open, or its triangles disagree about which side is out, or it has no volume.
    """
    loose = loose_edges(mesh)
    if loose:
        raise UserError(
            f"{path}: parts are found in a solid, and its surface is open, or turned against itself, at {loose:,} edges"
        )
    fitted = mesh.in_unit_ball(RADIUS)
    volume = signed_volume(fitted)
    if not math.isfinite(volume) or abs(volume) < 1e-9:
        raise UserError(f"{path}: its surface encloses nothing")
    if volume < 0:
        progress(f"{path}: its triangles face inwards; they are turned round")
        fitted = replace(fitted, faces=fitted.faces[:, ::-1])
    return fitted


def filled(mesh: Mesh) -> Tensor:
    """[64, 64, 64] float32, 1 where the middle of a cell of [-1, 1]^3 is inside a closed mesh; indexed [x, y, z]."""
    line = (np.arange(CELLS) + 0.5) * (2 / CELLS) - 1
    centers = np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
    return torch.from_numpy(inside(mesh, centers).reshape((CELLS,) * 3).astype(np.float32))
