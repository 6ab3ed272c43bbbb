"""The cameras that a run's photographs were taken by, for whoever looks at its scene again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.files.captures import Capture, read_capture

EDITS = ("edit", "dataset_update")  # systems whose `source` is another scene


def capture_of(source: str | Path) -> Capture | None:
    """The capture in the scene's world, where `source` is a reconstruction, or an edit of one; else None.

    Raises:
        UserError: the capture's folder is not there any more.
    """
    config = _config(Path(source))
    for _ in range(100):  # an edit of an edit of a reconstruction
        if config.get("system") not in EDITS or not isinstance(config.get("source"), str):
            break
        config = _config(Path(config["source"]))
    if config.get("system") != "reconstruct":
        return None
    if not Path(config["data"]).exists():
        raise UserError(
            f"{source} was made from {config['data']}, which is not there any more: its cameras are unknown"
        )
    keys = {key: config[key] for key in ("downscale", "hold_out_every", "radius") if key in config}
    return read_capture(config["data"], **keys)


def capture_views(source: str | Path, lens: bool) -> Cameras | None:
    """The cameras of `capture_of`, or None.

    Args:
        lens: whether the cameras keep their distortion; without it they are those of the undistorted pictures.
    Raises:
        UserError: the capture's folder is not there any more.
    """
    capture = capture_of(source)
    if capture is None or lens:
        return None if capture is None else capture.cameras
    return replace(capture.cameras, lens=None)


def square_views(cameras: Cameras, which: list[int], size: int) -> Cameras:
    """Some of the cameras as pinholes that see the square in the middle of their pictures, `size` pixels wide."""
    some = cameras[torch.tensor(which)]
    scale = size / min(some.height, some.width)
    lenses = some.intrinsics * scale
    lenses[:, 0, 2] += 0.5 * (size - scale * some.width)
    lenses[:, 1, 2] += 0.5 * (size - scale * some.height)
    lenses[:, 2, 2] = 1.0
    return Cameras(some.camera_to_world, lenses, size, size)


def _config(path: Path) -> dict[str, Any]:
    file = path / "config.yaml"
    found = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None
    return found if isinstance(found, dict) else {}
