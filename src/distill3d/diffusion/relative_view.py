"""Where a camera stands as seen from the camera of a given picture: what novel-view models are told."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from distill3d.core.cameras import Cameras


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
