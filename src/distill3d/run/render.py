"""Pictures and films of a run, a mesh or a splat scene: `distill3d render`."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.component import nearest
from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.core.rendering import Rendering
from distill3d.files.meshes.reading import Up
from distill3d.files.pictures import to_bytes, write_png
from distill3d.files.video import write_mp4
from distill3d.geometry.normals import vertex_normals
from distill3d.renderers.mesh_picture import render_mesh
from distill3d.run import backend, splats
from distill3d.run.asset import device_of
from distill3d.run.color_map import colored
from distill3d.run.image import view as named_view
from distill3d.run.progress import PLAIN_INTERVAL, Progress, clock
from distill3d.run.scene import Scene, chosen_name, open_scene
from distill3d.run.turntable import BACKDROP, DISTANCE, FOV, LIGHT

SHOWN = ("rgb", "depth", "normal")
PATHS = ("orbit",)
COLORS = {"backdrop": BACKDROP, "white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0), "grey": (0.5, 0.5, 0.5)}
ELEVATION = 15.0  # degrees
NEAREST, FURTHEST = DISTANCE - 1.0, DISTANCE + 1.0  # of the coloured depth: where the unit ball begins and ends


@dataclass(frozen=True)
class Rendered:
    """What was written.

    Args:
        path: the film or the picture.
        depth_range: world units along the ray at the bright and the dark end of the depth's colours, or None where no
            depth is shown. A mesh is scaled into the unit ball first.
        notices: what a person should know, a line each.
    """

    path: Path
    depth_range: tuple[float, float] | None
    notices: list[str] = field(default_factory=list)


def render(
    source: str | Path,
    out: str | Path | None = None,
    *,
    show: str = "rgb",
    path: str | None = None,
    view: str | None = None,
    frames: int = 72,
    size: int = 256,
    elevation: float | None = None,
    background: str = "backdrop",
    light: float | None = None,
    fps: int = 24,
    up: Up | None = None,
    progress: Progress | None = None,
) -> Rendered:
    """Films a scene along a path (MP4), or draws one view of it (PNG).

    Args:
        source: a run folder of any renderer, a mesh file, or a 3DGS file.
        out: the file; by default orbit.mp4 or the view's name in the current folder, with a number added rather than
            anything overwritten.
        show: of rgb, depth, normal, with commas between them: side by side. Depth is coloured from bright (near) to
            dark (far) over `NEAREST` to `FURTHEST`, normals are (n + 1) / 2 in world axes.
        path: orbit, the default, is one turn. view: front, back, left, right, top, or AZIMUTH,ELEVATION in degrees.
        frames: pictures in one turn. size: pixels along each side of a picture. elevation: degrees above the horizon.
        background: backdrop, white, black, grey, or R,G,B in 0..1.
        light: 0 plain colours to 1 all shading of a lamp at the camera; 0.6 by default, and 0 for splats, whose
            colours hold their light already.
        up: the axis that points up in a mesh file.
        progress: who shows it; nobody by default.
    Raises:
        UserError: anything that the caller can put right, before any work where that can be known.
    """
    parts = chosen_parts(show)
    color = chosen_background(background)
    check_numbers(frames, size, elevation, light, fps)
    if view is not None and path is not None:
        raise UserError("--view draws one picture and --path a film: give one of them")
    if path is not None and path not in PATHS:
        raise UserError(f"unknown path {path!r}{nearest(path, PATHS)}")
    ending = ".mp4" if view is None else ".png"
    if out is not None and Path(out).suffix.lower() != ending:
        what = "a film is an MP4; one picture is drawn with --view" if view is None else "one view is a PNG"
        raise UserError(f"{out}: {what}, give a file name that ends in {ending}")
    azimuths, degrees = chosen_angles(view, frames, elevation)
    with progress or Progress(quiet=True) as progress:
        stem = path or "orbit" if view is None else re.sub(r"[^\w.-]+", "_", view)
        target = chosen_name(out, Path(f"{stem}{ending}"), progress)
        with backend.reproducible("auto"), torch.no_grad():
            with progress.phase("loading", announced=False):
                scene = open_scene(source, up)
            for line in scene.notices:
                progress(line)
            draw = artist(scene, color, light, "normal" in parts)
            cameras = Cameras.orbit(torch.tensor(azimuths), math.radians(degrees), DISTANCE, FOV, size)
            pictures = (beside(draw(cameras[k : k + 1]), parts, color) for k in range(len(azimuths)))
            if view is not None:
                with progress.phase("drawing"):
                    write_png(next(pictures), target)
            else:
                with progress.phase(f"drawing {frames} pictures"):
                    write_mp4(counted(pictures, frames, progress), target, fps)
        span = (NEAREST, FURTHEST) if "depth" in parts else None
        if span is not None:
            progress(f"depth: {span[0]:.2f} (bright) to {span[1]:.2f} (dark) world units along the ray")
        return Rendered(target, span, scene.notices)


def chosen_parts(show: str) -> list[str]:
    """What stands side by side.

    Raises:
        UserError: an unknown word.
    """
    parts = [part.strip() for part in show.split(",") if part.strip()]
    for part in parts:
        if part not in SHOWN:
            raise UserError(f"--show: unknown picture {part!r}{nearest(part, SHOWN)}")
    if not parts or len(set(parts)) < len(parts):
        raise UserError(f"--show wants some of {', '.join(SHOWN)}, each once, with commas between them (got {show!r})")
    return parts


def chosen_background(text: str) -> tuple[float, float, float]:
    """A colour by name, or by three numbers.

    Raises:
        UserError: neither.
    """
    if text in COLORS:
        return COLORS[text]
    try:
        red, green, blue = (float(word) for word in text.split(","))
    except ValueError:
        raise UserError(f"unknown background {text!r}{nearest(text, COLORS)}, or R,G,B in 0..1") from None
    if not all(0 <= value <= 1 for value in (red, green, blue)):
        raise UserError(f"background {text}: red, green and blue are 0 to 1")
    return red, green, blue


def check_numbers(frames: int, size: int, elevation: float | None, light: float | None, fps: int) -> None:
    """Says before any work that a number is out of range."""
    check_light(light)
    for name, value, low, high in (
        ("--frames", frames, 1, 3600),
        ("--size", size, 16, 2048),
        ("--elevation", elevation, -89, 89),
        ("--fps", fps, 1, 120),
    ):
        if value is not None and not low <= value <= high:
            raise UserError(f"{name} is {low} to {high} (got {value:g})")


def chosen_angles(view: str | None, frames: int, elevation: float | None) -> tuple[list[float], float]:
    """Azimuths in radians, and the elevation in degrees."""
    if view is None:
        return [k * 2 * math.pi / frames for k in range(frames)], ELEVATION if elevation is None else elevation
    camera = named_view(view, 1)
    return [float(camera.azimuth)], math.degrees(float(camera.elevation)) if elevation is None else elevation


def artist(
    scene: Scene, background: tuple[float, float, float], light: float | None, normals: bool
) -> Callable[[Cameras], Rendering]:
    """Draws a scene, its object inside the unit ball."""
    shape = scene.shape
    if isinstance(shape, Mesh):
        mesh = shape.in_unit_ball()
        smooth = vertex_normals(mesh.vertices, mesh.faces)
        behind = torch.tensor(background)

        def draw_mesh(cameras: Cameras) -> Rendering:
            shading = torch.tensor([LIGHT if light is None else light])
            return render_mesh(mesh, cameras, light=shading, background=behind, normals=smooth)

        return draw_mesh
    shape.eval()
    device = device_of(shape)
    strength = light if light is not None else 0.0 if shape.kind == splats.KIND else LIGHT
    lamp = torch.tensor([strength], device=device) if strength > 0 else None

    def draw(cameras: Cameras) -> Rendering:
        behind = torch.tensor(background, device=device)
        return shape(cameras.to(device), background=behind, light=lamp, normals=normals)

    return draw


def beside(rendering: Rendering, parts: list[str], background: tuple[float, float, float]) -> np.ndarray:
    """The parts of the first view side by side, uint8 [H, W * parts, 3].

    Raises:
        UserError: the renderer has no normals.
    """
    alpha = rendering.alpha[0].cpu()
    pictures = []
    for part in parts:
        if part == "rgb":
            shown = rendering.rgb[0].cpu()
        elif part == "depth":
            far = (rendering.depth[0, ..., 0].cpu() - NEAREST) / (FURTHEST - NEAREST)
            shown = _over(torch.from_numpy(colored(1.0 - far.numpy())), alpha, background)
        elif rendering.normal is None:
            raise UserError("this renderer has no normals; leave them out of --show")
        else:
            shown = _over(0.5 + 0.5 * rendering.normal[0].cpu(), alpha, background)
        pictures.append(to_bytes(shown.numpy()))
    return np.concatenate(pictures, 1)


def _over(picture: Tensor, alpha: Tensor, background: tuple[float, float, float]) -> Tensor:
    return alpha * picture + (1 - alpha) * torch.tensor(background)


def check_light(light: float | None) -> None:
    """Says that it is out of range."""
    if light is not None and not 0 <= light <= 1:
        raise UserError(f"--light is 0 to 1 (got {light:g})")


def counted(pictures: Iterator[np.ndarray], total: int, progress: Progress) -> Iterator[np.ndarray]:
    """The same pictures, with a word on how many there are and how long the rest will take."""
    start = said = time.monotonic()
    for done, picture in enumerate(pictures, 1):
        yield picture
        now = time.monotonic()
        text = f"{done} of {total}, {clock((now - start) / done * (total - done))} left"
        if progress.fancy:
            progress.stage(text)
        elif now - said > PLAIN_INTERVAL:
            progress(text)
            said = now
