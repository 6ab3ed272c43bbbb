"""The camera as a vector that a network can read."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from distill3d.core.cameras import Cameras

VIEW_SIZE = 16
_HARMONICS = (1, 2, 3, 4)  # a fourth harmonic tells a cube's corner from its side
_DISTANCE = 3.0  # world units, where the feature is 0
_FOV = math.radians(45.0)


def view_vector(cameras: Cameras, light: float | Tensor | None = None) -> Tensor:
    """What a prior is told about each camera.

    Args:
        cameras: `B` cameras that look at the origin.
        light: share of shading in the picture, 0 (flat albedo) to 1 (shaded), a number or [B]; None is 1.
    Returns:
        [B, 16]: 1 (a camera is given), sin and cos of 1 to 4 times the azimuth, sin and cos of 1 and 2 times the
        elevation, log(distance / 3), log(tan(fov / 2) / tan(22.5 degrees)), light.
    """
    azimuth, elevation = cameras.azimuth, cameras.elevation
    features = [torch.ones_like(azimuth)]
    for k in _HARMONICS:
        features += [(k * azimuth).sin(), (k * azimuth).cos()]
    for k in (1, 2):
        features += [(k * elevation).sin(), (k * elevation).cos()]
    features.append((cameras.distance / _DISTANCE).log())
    features.append(((0.5 * cameras.fov).tan() / math.tan(0.5 * _FOV)).log())
    light = torch.as_tensor(1.0 if light is None else light, dtype=azimuth.dtype, device=azimuth.device)
    features.append(light.expand(azimuth.shape))
    return torch.stack(features, -1)


def null_view(batch: int, device: torch.device | str | None = None) -> Tensor:
    """[batch, 16] of zeros: "no camera is given"."""
    return torch.zeros(batch, VIEW_SIZE, device=device)
