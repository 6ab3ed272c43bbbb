"""Where a camera stands as seen from the camera of a given picture: what novel-view models are told."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from distill3d.core.cameras import Cameras

RELATIVE_SIZE = 14
_HARMONICS = (1, 2, 3, 4)  # of the azimuth, as in `view_vector`


def relative_pose(cameras: Cameras, reference: Cameras) -> tuple[Tensor, Tensor, Tensor]:
    """From the reference to each camera, as polar coordinates (Liu et al. 2023, "Zero-1-to-3", section 3.2).

    Args:
        cameras: `B`, that look at the origin. reference: one, or `B`.
    Returns:
        Polar angle and azimuth that are gone, in radians, and the distance, in world units; [B] each. The polar angle
        is counted from the pole, so that a camera that rises has a negative one. The azimuth lies in [-pi, pi).
    """
    rise = cameras.elevation - reference.elevation
    turn = torch.remainder(cameras.azimuth - reference.azimuth + math.pi, 2 * math.pi) - math.pi
    return -rise, turn, cameras.distance - reference.distance


def relative_vector(cameras: Cameras, reference: Cameras) -> Tensor:
    """What the embedded novel-view model is told, [B, 14].

    1 (a camera is given), sin and cos of 1 to 4 times the azimuth that is gone, sin and cos of the polar angle that is
    gone, log of the ratio of the distances, sin and cos of the reference's elevation. The last two are what Stable
    Zero123 adds to Zero-1-to-3: from above or from the side, a picture turns differently.
    """
    polar, turn, _ = relative_pose(cameras, reference)
    features = [torch.ones_like(turn)]
    for k in _HARMONICS:
        features += [(k * turn).sin(), (k * turn).cos()]
    elevation = reference.elevation.expand(turn.shape)
    features += [polar.sin(), polar.cos(), (cameras.distance / reference.distance).log()]
    features += [elevation.sin(), elevation.cos()]
    return torch.stack(features, -1)
