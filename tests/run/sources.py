"""Small scenes to edit, as files and as a run."""

from __future__ import annotations

from pathlib import Path

import torch
import trimesh
import yaml

import distill3d
from distill3d.renderers import Renderer
from distill3d.run.progress import Progress
from distill3d.run.splats import write_scene


def write_splats(path: Path, count: int, opacity: float) -> None:
    """Splats in a ball of radius 0.5 about the origin."""
    section = {"kind": "gaussians", "start": {"count": count, "radius": 0.5, "opacity": opacity}}
    write_scene(Renderer.build(section, generator=torch.Generator().manual_seed(0)), path)


def far_ball() -> trimesh.Trimesh:
    """Of radius 3, ten units off the origin: an edit has to move it into the unit ball."""
    ball = trimesh.creation.icosphere(subdivisions=3, radius=3.0)
    ball.vertices += [10, 0, 0]
    return ball


def write_nerf_run(folder: Path) -> None:
    """The run FOLDER/nerf, of the system in `blob.py`."""
    tree = {
        "system": "blob:Blob",
        "renderer": {"kind": "nerf", "grid": {"levels": 4, "log2_table": 10, "finest": 32}},
        "steps": 3,
        "threads": 1,
        "export": {"formats": [], "turntable_frames": 0},
    }
    (folder / "blob.yaml").write_text(yaml.safe_dump(tree))
    distill3d.run(folder / "blob.yaml", out=folder / "nerf", progress=Progress(quiet=True))
