"""Toys as a photograph frames them: in the middle, and filling a given share of the picture.

A run that begins with a picture does that with what it cuts out (`files.cutout.recentred`); a frame is the world in
which the picture's camera, looking at the origin, sees the toy so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distill3d.core.cameras import Cameras
from distill3d.toybox.pictures import PackedToy, picture

_PROBE = 48  # pixels of the pictures that find the frame


@dataclass(frozen=True)
class Frame:
    """A world made by a picture: a point p of the toy's own world lies at scale (p - center) in it."""

    center: np.ndarray  # [3]
    scale: float


def find_frame(toy: PackedToy, camera: Cameras, fill: float = 0.75, rounds: int = 5) -> Frame:
    """The frame in which a camera sees the toy in the middle, the longer side of it `fill` of the square picture.

    Perspective makes that a matter of trying: each round looks, and moves and scales what it saw.

    Raises:
        ValueError: the camera sees nothing of the toy.
    """
    pose, distance = camera.camera_to_world[0].double().numpy(), float(camera.distance[0])
    intrinsics = camera.intrinsics.clone()
    intrinsics[:, :2] *= _PROBE / camera.height
    probe = Cameras(camera.camera_to_world, intrinsics, _PROBE, _PROBE)
    focal, middle = float(intrinsics[0, 0, 0]), intrinsics[0, :2, 2].double().numpy()
    frame = Frame(np.zeros(3), 1.0)
    for _ in range(rounds):
        alpha = seen_in_frame(toy, frame, probe, 0.0, 1)[..., 3] > 0
        rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
        if not len(rows):
            raise ValueError("the camera sees nothing of the toy")
        span = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
        seen = np.array([0.5 * (columns[0] + columns[-1] + 1), 0.5 * (rows[0] + rows[-1] + 1)])
        grown = float(fill * _PROBE / span)
        # About the point on the axis, where scaling moves nothing; then to the middle of the picture.
        right, down = ((seen - middle) * grown - (0.5 * _PROBE - middle)) * (distance / focal)
        shift = right * pose[:3, 0] - down * pose[:3, 1]  # in the new world
        frame = Frame(frame.center + shift / (frame.scale * grown), frame.scale * grown)
    return frame


def seen_in_frame(toy: PackedToy, frame: Frame, camera: Cameras, light: float, factor: int = 2) -> np.ndarray:
    """What one camera of the frame's world sees: [H, W, 4] float32, colour premultiplied by coverage, and coverage."""
    pose = camera.camera_to_world[0].double().numpy().copy()
    pose[:3, 3] = pose[:3, 3] / frame.scale + frame.center  # the toy stays, the camera goes
    return picture(toy, pose, camera.intrinsics[0].double().numpy(), camera.height, light, factor)
