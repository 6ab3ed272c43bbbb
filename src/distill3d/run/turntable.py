"""The object turning once around itself: a film, its first picture, and a strip of views."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from distill3d.core.cameras import Cameras
from distill3d.core.mesh import Mesh
from distill3d.core.rendering import Rendering
from distill3d.files.pictures import to_bytes, write_png
from distill3d.files.video import write_mp4
from distill3d.geometry.normals import vertex_normals
from distill3d.renderers.base import Renderer
from distill3d.renderers.mesh_picture import render_mesh

BACKDROP = (0.93, 0.93, 0.95)
LIGHT = 0.6  # enough to see the shape, little enough to see the colours
FOV = math.radians(40.0)
VIEWS = 8
DISTANCE = 3.2  # the unit ball fits into the picture with a small margin


def write_turntable(
    scene: Renderer | Mesh,
    path: Path,
    frames: int = 72,
    size: int = 256,
    elevation: float = math.radians(15.0),
    fps: int = 24,
) -> dict[str, Path]:
    """Films `scene` from all around, lightly shaded colour on the left, normals on the right.

    Args:
        scene: a renderer (put into evaluation mode meanwhile), or a finished mesh, which is far quicker to draw.
        path: of the MP4; `poster.png` (three quarter view) and `views.png` (8 views) are written beside it.
        frames: in one turn. size: pixels along each side of the picture. elevation: radians.
    Returns:
        paths by what they are: turntable, poster, views.
    Raises:
        UserError: a file cannot be written.
    """
    posters = {"poster": path.with_name("poster.png"), "views": path.with_name("views.png")}
    training = isinstance(scene, Renderer) and scene.training
    if isinstance(scene, Renderer):
        scene.eval()
    try:
        with torch.no_grad():
            draw = _artist(scene)
            azimuth = (torch.arange(frames) * (2 * math.pi / frames)).tolist()
            write_mp4((side_by_side(draw(angle, elevation, size)) for angle in azimuth), path, fps)
            write_png(poster(draw(0.6, elevation, size)), posters["poster"])
            angles = [k * 2 * math.pi / VIEWS for k in range(VIEWS)]  # the front first, counter-clockwise
            strip = [poster(draw(angle, elevation, max(64, size // 2))) for angle in angles]
            write_png(np.concatenate(strip, axis=1), posters["views"])
    finally:
        if isinstance(scene, Renderer):
            scene.train(training)
    return {"turntable": path, **posters}


def write_before_after(
    before: Renderer, after: Renderer, path: Path, frames: int = 36, size: int = 160, fps: int = 12
) -> Path:
    """Films two scenes turning together, lightly shaded, the former on the left: [size, 2 size] a picture.

    Both are drawn by their renderers, with which the change was made; the turntable shows the exported asset.
    """
    return write_grid([before, after], path, frames, size, fps)


def write_grid(
    scenes: Sequence[Renderer | Mesh], path: Path, frames: int = 36, size: int = 160, fps: int = 12, columns: int = 4
) -> Path:
    """Films scenes turning together, lightly shaded, row by row; what is left of the last row is the backdrop.

    Args:
        frames: in one turn. fps: one turn takes as long as the turntable's if it has half as many frames.
    Raises:
        UserError: a file cannot be written.
    """
    learnt = [scene for scene in scenes if isinstance(scene, Renderer)]
    training = [scene.training for scene in learnt]
    try:
        with torch.no_grad():
            artists = [_artist(scene.eval() if isinstance(scene, Renderer) else scene) for scene in scenes]
            turns = (k * 2 * math.pi / frames for k in range(frames))
            drawn = ([poster(draw(turn, math.radians(15.0), size)) for draw in artists] for turn in turns)
            write_mp4((in_rows(pictures, columns) for pictures in drawn), path, fps)
    finally:
        for scene, was in zip(learnt, training, strict=True):
            scene.train(was)
    return path


def in_rows(pictures: list[np.ndarray], columns: int) -> np.ndarray:
    """Pictures of one size, uint8 [H, W, 3], as rows of at most `columns`."""
    columns = min(columns, len(pictures))
    empty = np.full_like(pictures[0], np.round(255 * np.array(BACKDROP)))
    full = pictures + [empty] * (-len(pictures) % columns)
    rows = [np.concatenate(full[i : i + columns], axis=1) for i in range(0, len(full), columns)]
    return np.concatenate(rows)


def _artist(scene: Renderer | Mesh) -> Callable[[float, float, int], Rendering]:
    """(azimuth, elevation, size) -> one lightly shaded view on the backdrop, with normals."""
    backdrop, light = torch.tensor(BACKDROP), torch.tensor([LIGHT])
    if isinstance(scene, Renderer):
        device = next((p.device for p in scene.parameters()), torch.device("cpu"))
        backdrop, light = backdrop.to(device), light.to(device)
    normals = vertex_normals(scene.vertices, scene.faces) if isinstance(scene, Mesh) else None

    def draw(azimuth: float, elevation: float, size: int) -> Rendering:
        cameras = Cameras.orbit(azimuth, elevation, DISTANCE, FOV, size)
        if isinstance(scene, Mesh):
            return render_mesh(scene, cameras, light=light, background=backdrop, normals=normals)
        return scene(cameras.to(backdrop.device), background=backdrop, light=light, normals=True)

    return draw


def poster(rendering: Rendering) -> np.ndarray:
    """The colour of the first view, uint8 [H, W, 3]."""
    return to_bytes(rendering.rgb[0].detach().cpu().numpy())


def side_by_side(rendering: Rendering) -> np.ndarray:
    """Colour and normals of the first view, uint8 [H, 2 W, 3] (only [H, W, 3] without normals)."""
    if rendering.normal is None:
        return poster(rendering)
    alpha = rendering.alpha[0]
    shown = alpha * (0.5 + 0.5 * rendering.normal[0]) + (1 - alpha) * torch.tensor(BACKDROP).to(alpha)
    return np.concatenate([poster(rendering), to_bytes(shown.detach().cpu().numpy())], axis=1)
