"""Any scene photographed from all around, for other programs or to reconstruct it: `distill3d capture`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from distill3d.core.errors import UserError
from distill3d.files.captures.writing import spiral, write_frames
from distill3d.files.meshes.reading import Up
from distill3d.run import backend
from distill3d.run.progress import Progress
from distill3d.run.render import artist, check_light, counted
from distill3d.run.scene import open_scene

BLACK = (0.0, 0.0, 0.0)  # what is drawn in front of nothing is premultiplied


def capture(
    source: str | Path,
    out: str | Path,
    *,
    views: int = 60,
    size: int = 256,
    held_out: int = 0,
    light: float | None = None,
    up: Up | None = None,
    progress: Progress | None = None,
) -> Path:
    """Pictures with camera poses of a run, a mesh or a splat scene, in the transforms.json layout.

    Args:
        source: a run folder of any renderer, a mesh file, or a 3DGS file. A mesh is scaled into the unit ball first.
        out: a folder that does not exist or is empty.
        views, size, held_out: pictures, pixels along a side, and how many are kept for testing: see `write_frames`.
        light: as for `render`.
        up: the axis that points up in a mesh file.
        progress: who shows it; nobody by default.
    Returns:
        The path of transforms.json.
    Raises:
        UserError: anything that the caller can put right, before any work where that can be known.
    """
    cameras, folder = spiral(views, size, held_out), Path(out)
    check_light(light)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: exists already; give a folder that does not, or is empty")
    with progress or Progress(quiet=True) as progress, backend.reproducible("auto"), torch.no_grad():
        with progress.phase("loading", announced=False):
            scene = open_scene(source, up)
        for line in scene.notices:
            progress(line)
        draw = artist(scene, BLACK, light, normals=False)

        def picture(index: int) -> np.ndarray:
            view = draw(cameras[index : index + 1])
            return torch.cat([view.rgb[0], view.alpha[0]], -1).cpu().numpy()

        with progress.phase(f"drawing {views} pictures"):
            pictures = counted((picture(i) for i in range(views)), views, progress)
            return write_frames(folder, pictures, cameras, scene.name, held_out)
