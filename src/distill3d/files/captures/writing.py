"""Writing a capture in the layout that NeRF programs read.

`transforms.json` as instant-ngp and nerfstudio define it: one pinhole lens in pixels, and for every frame a picture
and its camera-to-world matrix with OpenGL axes (x right, y up, looks along -z). The world is ours: z up, front +x.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.files.atomic import write_bytes
from distill3d.files.pictures import write_png

FOV = math.radians(45.0)
DISTANCE = 2.9  # the unit ball fills the picture without touching its border
LOWEST, HIGHEST = math.radians(-20.0), math.radians(70.0)  # elevations


def spiral(views: int, size: int, held_out: int = 0) -> Cameras:
    """Cameras that wind around the object once by the golden angle a step, from below it to far above.

    Raises:
        UserError: numbers that make no capture.
    """
    if views < 1 or not 8 <= size <= 4096:
        raise UserError(f"a capture needs at least 1 view of 8 to 4096 pixels, got {views} of {size}")
    if not 0 <= held_out < views:
        raise UserError(f"of {views} views 0 to {views - 1} can be held out, not {held_out}")
    i = torch.arange(views, dtype=torch.float64)
    share = (i + 0.5) / views
    elevation = torch.asin(math.sin(LOWEST) + share * (math.sin(HIGHEST) - math.sin(LOWEST)))  # even over the sphere
    azimuth = torch.remainder(i * math.pi * (3 - math.sqrt(5)), 2 * math.pi)
    return Cameras.orbit(azimuth.float(), elevation.float(), DISTANCE, FOV, size)


def write_frames(
    folder: Path, pictures: Iterable[np.ndarray], cameras: Cameras, caption: str, held_out: int = 0
) -> Path:
    """The pictures as they come, then the list of them: a capture that was interrupted has no list and is none.

    Writes images/000.png ... (RGBA, straight alpha), transforms.json, and with `held_out` also transforms_train.json
    and transforms_test.json, which share the frames among them.

    Args:
        folder: missing ones are made, what it holds of an earlier capture is replaced.
        pictures: one a camera, float [size, size, 4], premultiplied.
        cameras: square pictures, one lens.
        held_out: how many views are kept for testing, spread evenly.
    Returns:
        The path of transforms.json.
    """
    poses, lenses = cameras.camera_to_world.double().numpy(), cameras.intrinsics.double().numpy()
    frames = []
    for i, picture in enumerate(pictures):
        name = f"images/{i:03d}.png"
        write_png(straight(picture), folder / name)
        frames.append({"file_path": name, "transform_matrix": poses[i].tolist()})
    header = {"caption": caption, **_lens(lenses[0], cameras.width)}
    tested = {int((i + 0.5) * len(frames) / held_out) for i in range(held_out)}
    if tested:
        _write(folder / "transforms_train.json", header, [f for i, f in enumerate(frames) if i not in tested])
        _write(folder / "transforms_test.json", header, [f for i, f in enumerate(frames) if i in tested])
    _write(folder / "transforms.json", header, frames)
    return folder / "transforms.json"


def straight(premultiplied: np.ndarray) -> np.ndarray:
    """Straight colour [..., 4] from premultiplied colour; 0 where nothing is covered."""
    alpha = premultiplied[..., 3:]
    color = np.divide(premultiplied[..., :3], alpha, out=np.zeros_like(premultiplied[..., :3]), where=alpha > 0)
    return np.concatenate([color.clip(0, 1), alpha.clip(0, 1)], -1)


def _lens(intrinsics: np.ndarray, size: int) -> dict:
    fx, fy = float(intrinsics[0, 0]), float(intrinsics[1, 1])
    return {
        "camera_model": "OPENCV",
        "camera_angle_x": 2 * math.atan(0.5 * size / fx),
        "camera_angle_y": 2 * math.atan(0.5 * size / fy),
        "fl_x": fx,
        "fl_y": fy,
        "cx": float(intrinsics[0, 2]),
        "cy": float(intrinsics[1, 2]),
        "w": size,
        "h": size,
        "aabb_scale": 2,
    }


def _write(path: Path, header: dict, frames: list[dict]) -> None:
    write_bytes(path, (json.dumps({**header, "frames": frames}, indent=1) + "\n").encode())
