"""The cameras that a run's photographs were taken by, for whoever looks at its scene again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.files.captures import read_capture
from distill3d.files.captures.undistort import undistorted


def capture_views(source: str | Path, lens: bool) -> Cameras | None:
    """The capture's cameras in the scene's world, where `source` is a reconstruction, or an edit of one; else None.

    Args:
        lens: whether the cameras keep their distortion; without it they are those of the undistorted pictures.
    Raises:
        UserError: the capture's folder is not there any more.
    """
    config = _config(Path(source))
    for _ in range(100):  # an edit of an edit of a reconstruction
        if config.get("system") != "edit" or not isinstance(config.get("source"), str):
            break
        config = _config(Path(config["source"]))
    if config.get("system") != "reconstruct":
        return None
    if not Path(config["data"]).exists():
        raise UserError(
            f"{source} was made from {config['data']}, which is not there any more: its cameras are unknown"
        )
    keys = {key: config[key] for key in ("downscale", "hold_out_every", "radius") if key in config}
    capture = read_capture(config["data"], **keys)
    return capture.cameras if lens else undistorted(capture).cameras


def square_views(cameras: Cameras, which: list[int], size: int) -> Cameras:
    """Some of the cameras as pinholes that see the square in the middle of their pictures, `size` pixels wide."""
    some = cameras[torch.tensor(which)]
    scale = size / min(some.height, some.width)
    lenses = some.intrinsics * scale
    lenses[:, 0, 2] += 0.5 * (size - scale * some.width)
    lenses[:, 1, 2] += 0.5 * (size - scale * some.height)
    lenses[:, 2, 2] = 1.0
    return Cameras(some.camera_to_world, lenses, size, size)


def spread(count: int, wanted: int) -> list[int]:
    """At most `wanted` of `count` indices, evenly, the first among them.

    >>> spread(10, 4)
    [0, 2, 5, 7]
    """
    wanted = min(count, wanted)
    return [k * count // wanted for k in range(wanted)]


def _config(path: Path) -> dict[str, Any]:
    file = path / "config.yaml"
    found = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None
    return found if isinstance(found, dict) else {}
