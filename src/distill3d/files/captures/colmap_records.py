"""What COLMAP's files hold, whichever of the two ways they were written."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class ColmapCamera(NamedTuple):
    """A lens: `model` by COLMAP's name, its parameters in COLMAP's order."""

    number: int
    model: str
    width: int
    height: int
    parameters: tuple[float, ...]


class ColmapImage(NamedTuple):
    """A picture: world-to-camera rotation (w, x, y, z) and translation, OpenCV axes."""

    name: str
    camera: int
    quaternion: tuple[float, ...]
    translation: tuple[float, ...]


class ColmapPoints(NamedTuple):
    """xyz [N, 3] float64 and colors [N, 3] uint8."""

    xyz: np.ndarray
    colors: np.ndarray


NO_POINTS = ColmapPoints(np.zeros((0, 3)), np.zeros((0, 3), np.uint8))
