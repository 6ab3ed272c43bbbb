"""Splat files as the verbs see them: told from meshes, fitted into the unit ball, put back where they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from distill3d.files.captures import Normalization
from distill3d.files.meshes.limits import BadMesh
from distill3d.files.meshes.ply_header import LONGEST, read_ply_header
from distill3d.files.splats import read_splats, write_splats
from distill3d.renderers.base import Renderer
from distill3d.renderers.gaussian_motion import moved
from distill3d.renderers.gaussians import GaussianRenderer

KIND = GaussianRenderer.kind
KIND_OF_FILE = "splats"  # among a run's `export.formats`


def is_splat_file(path: Path) -> bool:
    """Whether a PLY holds Gaussians, by its header alone; False also where the header is broken."""
    if path.suffix.lower() != ".ply" or not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(LONGEST)
    try:
        # as if the rows were there: whether they are is for the reader to say
        return read_ply_header(start, room=path.stat().st_size).holds_splats
    except BadMesh:
        return False


def open_splats(path: Path) -> tuple[GaussianRenderer, Normalization]:
    """A splat file as a renderer, its dense part inside the unit ball.

    A scene that lies there already, as this program writes them, stays where it is; of any other, nine tenths of the
    opaque Gaussians are fitted into the ball, around their median.

    Raises:
        UserError: it is damaged.
    """
    found = read_splats(path)
    seen = found.means[found.logit_opacities > 0] if (found.logit_opacities > 0).sum() > 10 else found.means
    center, scale = np.zeros(3), 1.0
    reach = float(np.quantile(np.linalg.norm(seen, axis=-1), 0.98))
    if not 0.2 < reach <= 1.1:
        center = np.median(seen.astype(np.float64), axis=0)
        reach = float(np.quantile(np.linalg.norm(seen - center, axis=-1), 0.9))
        scale = 0.9 / reach if reach > 0 else 1.0
    placing = Normalization(np.eye(3), center, scale)
    return GaussianRenderer.from_splats(moved(found, placing)), placing


def write_scene(renderer: Renderer, path: Path, placing: Normalization | None = None) -> None:
    """The Gaussians of a renderer in the layout that 3DGS, its viewers, gsplat and nerfstudio read.

    Args:
        placing: how their file or capture was moved when it was read, which is undone.
    Raises:
        UserError: it cannot be written.
    """
    assert isinstance(renderer, GaussianRenderer)
    found = renderer.to_splats()
    write_splats(found if placing is None else moved(found, placing.inverse), path)
