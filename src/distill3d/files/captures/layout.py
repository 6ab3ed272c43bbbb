"""What a capture's files say before any picture is opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from distill3d.core.errors import UserError

FEWEST = 3  # pictures: two views have no third that could contradict a wrong surface
NAMED = 20  # missing pictures that a warning lists


@dataclass(frozen=True)
class LensModel:
    """A lens in pixels of the full picture.

    Args:
        fx, fy, cx, cy: focal lengths and principal point; (0.5, 0.5) is the centre of the first pixel.
        width, height: of the pictures it was calibrated for.
        model, coefficients: see `core.lens.Lens`; all zero is a pinhole.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    model: Literal["opencv", "fisheye"] = "opencv"
    coefficients: tuple[float, ...] = (0.0,) * 8

    @property
    def intrinsics(self) -> np.ndarray:
        """[3, 3] float64."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])


@dataclass(frozen=True)
class Frame:
    """One photograph.

    Args:
        picture: its file. pose: [4, 4] float64 camera-to-world, OpenGL axes, in the file's world.
        held_out: kept for testing; None leaves that to the reader of the capture.
        mask: file of a mask, black where pixels do not count; or None.
    """

    picture: Path
    pose: np.ndarray
    lens: LensModel
    held_out: bool | None = None
    mask: Path | None = None


@dataclass(frozen=True)
class Layout:
    """All of a capture but the pixels.

    Args:
        source: the file that says so, for messages.
        points, colors: [N, 3] float64 and uint8, of a structure-from-motion model, or None.
        upright: whether the file's world has z up; otherwise the cameras' own up is taken for it.
        notices: what a person should know.
    """

    source: Path
    frames: tuple[Frame, ...]
    points: np.ndarray | None = None
    colors: np.ndarray | None = None
    upright: bool = True
    notices: tuple[str, ...] = field(default=())


def with_pictures(layout: Layout) -> Layout:
    """The frames whose picture is there; the others are named in one notice.

    Raises:
        UserError: there is no frame, or fewer than three with a picture.
    """
    if not layout.frames:
        raise UserError(f"{layout.source}: has no frames")
    there = tuple(frame for frame in layout.frames if is_file(frame.picture))
    missing = [frame.picture.name for frame in layout.frames if not is_file(frame.picture)]
    if len(there) < FEWEST:
        missed = f", {len(missing)} pictures are missing ({listed(missing)})" if missing else ""
        raise UserError(f"{layout.source}: a capture needs at least {FEWEST} pictures, has {len(there)}{missed}")
    notices = layout.notices
    if missing:
        notices += (f"{layout.source}: {len(missing)} pictures are missing and left out: {listed(missing)}",)
    return Layout(layout.source, there, layout.points, layout.colors, layout.upright, notices)


def is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
