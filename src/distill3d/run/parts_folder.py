"""What every verb of `distill3d parts` leaves behind: a folder with shapes, their surfaces, and a contact sheet."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.files.atomic import write_bytes, written
from distill3d.files.glb import Node, nodes_glb
from distill3d.files.pictures import write_png
from distill3d.geometry.normals import vertex_normals
from distill3d.parts.model import PartModel
from distill3d.parts.part_file import write_parts
from distill3d.parts.parts import Parts
from distill3d.parts.surface import part_meshes
from distill3d.run.folder import slug
from distill3d.run.image_files import check_writable
from distill3d.run.parts_choice import part_names
from distill3d.run.parts_sheet import part_color, sheet
from distill3d.run.progress import Progress
from distill3d.run.scene import free_name


@dataclass(frozen=True)
class Written:
    """A folder with its shapes.

    Args:
        folder: shape-0.safetensors, shape-0.glb ... and sheet.png.
        shapes: as they stand in the files.
        empty: numbers of the shapes without a surface, which have no GLB.
    """

    folder: Path
    shapes: tuple[Parts, ...]
    empty: tuple[int, ...]


def chosen_folder(out: str | Path | None, name: str) -> Path:
    """A folder that is not there yet: `out`, or outputs/parts/NAME; a number is added where something stands.

    Raises:
        UserError: a file stands in its place, or nothing can be written there.
    """
    wanted = Path(out) if out is not None else Path("outputs") / "parts" / slug(name)
    if wanted.is_file():
        raise UserError(f"{wanted} is a file: --out names a new folder")
    folder = free_name(wanted)
    check_writable(folder)
    return folder


def write_shapes(
    model: PartModel, shapes: Sequence[Parts], folder: Path, resolution: int, progress: Progress
) -> Written:
    """Makes surfaces and pictures of shapes and writes `folder`, whole or not at all.

    Args:
        resolution: grid points along a side.
    Raises:
        UserError: no shape encloses anything, or the folder cannot be written.
    """
    count = len(shapes)
    pieces: list[dict[int, Mesh]] = []
    reasons: dict[int, str] = {}
    with progress.steps(2 * count, first="surfaces and pictures"):
        for number in range(count):
            try:
                pieces.append(part_meshes(model.network, shapes[number], resolution))
            except UserError as reason:  # one that encloses nothing is no reason to lose the others
                pieces.append({})
                reasons[number] = str(reason)
            progress.update(number + 1, {})
        if len(reasons) == count:
            raise UserError(reasons[0])
        shown = [(shapes[number].gaussians, found) for number, found in enumerate(pieces)]
        picture = sheet(shown, lambda done: progress.update(count + done, {}))
    for number, why in reasons.items():
        progress(f"shape {number} has no GLB: {why}")
    with written(folder) as temporary:
        shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
        temporary.mkdir()
        for number, found in enumerate(pieces):
            write_parts(shapes[number], temporary / f"shape-{number}.safetensors")
            if found:
                data = scene(shapes[number], found, part_names(shapes[number], model.namer), f"shape-{number}")
                write_bytes(temporary / f"shape-{number}.glb", data)
        write_png(picture, temporary / "sheet.png")
    return Written(folder, tuple(shapes), tuple(reasons))


def scene(shape: Parts, pieces: Mapping[int, Mesh], names: Sequence[str], name: str) -> bytes:
    """A GLB whose nodes are the parts, named and coloured, each about the mean of its Gaussian."""
    nodes = []
    for number, piece in pieces.items():
        piece.name = names[number]
        normals = vertex_normals(piece.vertices, piece.faces)
        nodes.append(Node(piece, part_color(number), shape.gaussians.means[number].numpy(), normals))
    return nodes_glb(nodes, name)
