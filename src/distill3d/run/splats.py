"""Splat files as the verbs see them: told from meshes, fitted into the unit ball, put back where they were."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from distill3d.files.meshes.limits import BadMesh
from distill3d.files.meshes.ply_header import LONGEST, read_ply_header
from distill3d.files.splats import Splats, read_splats, write_splats
from distill3d.renderers.base import Renderer
from distill3d.renderers.gaussians import GaussianRenderer

KIND = GaussianRenderer.kind


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


@dataclass(frozen=True)
class Placing:
    """How a scene was moved to fit into the unit ball: x -> (x - center) * scale."""

    center: np.ndarray
    scale: float

    def undo(self, points: np.ndarray) -> np.ndarray:
        """Points [N, 3] of the fitted scene, back at the scene's own place and size."""
        return points / self.scale + self.center


def open_splats(path: Path) -> tuple[GaussianRenderer, Placing]:
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
    placing = Placing(center, scale)
    return GaussianRenderer.from_splats(_moved(found, placing)), placing


def write_scene(renderer: Renderer, path: Path, placing: Placing | None = None) -> None:
    """The Gaussians of a renderer in the layout that 3DGS, its viewers, gsplat and nerfstudio read.

    Args:
        placing: how they were fitted when they were read, which is undone.
    Raises:
        UserError: it cannot be written.
    """
    assert isinstance(renderer, GaussianRenderer)
    found = renderer.to_splats()
    if placing is not None:
        found = _moved(found, Placing(-placing.center * placing.scale, 1 / placing.scale))
    write_splats(found, path)


def _moved(found: Splats, placing: Placing) -> Splats:
    """Moved and scaled alike in all directions, so that rotations and colours stay as they are."""
    means = (found.means.astype(np.float64) - placing.center) * placing.scale
    scales = found.log_scales + np.float32(np.log(placing.scale))
    return replace(found, means=means.astype(np.float32), log_scales=scales)
