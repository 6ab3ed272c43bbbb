"""A shape of parts, opened: what `distill3d parts` wrote, or a mesh file that is inverted to parts."""

from __future__ import annotations

from pathlib import Path

import torch

from distill3d.core.errors import UserError
from distill3d.files.meshes import read_mesh
from distill3d.files.meshes.reading import UP, Up
from distill3d.parts.inversion import STEPS, invert, solid_of
from distill3d.parts.model import PartModel
from distill3d.parts.part_file import read_parts
from distill3d.parts.parts import Parts
from distill3d.run.progress import Progress

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
    loaded = read_mesh(path, up)
    for line in loaded.notices:
        progress(f"{path}: {line}")
    try:
        cells = solid_of(loaded.mesh)
    except UserError as fault:
        raise UserError(f"{path}: {fault}") from fault
    with progress.steps(STEPS, first=f"finding the parts of {path.name}"), torch.enable_grad():
        return invert(model.network, cells, STEPS, lambda done, total: progress.update(done, {}))
