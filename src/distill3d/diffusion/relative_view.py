"""Where a camera stands as seen from the camera of a given picture: what novel-view models are told."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.diffusion.view import HARMONICS, view_vector

_UPRIGHT = slice(1 + 2 * len(HARMONICS), -1)  # of a view vector: what is neither azimuth nor light


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


def reference_vector(reference: Cameras) -> Tensor:
    """How the camera of a given picture stood, as far as a person can say it: [B, 6], sine and cosine of 1 and 2 times
    its elevation, log(distance / 3), log(tan(fov / 2) / tan(22.5 degrees))."""
    return view_vector(reference)[:, _UPRIGHT]


def turned_view(front: Tensor, cameras: Cameras, reference: Cameras, light: float | Tensor | None = None) -> Tensor:
    """`view_vector` of cameras whose azimuths are known from a given picture's alone.

    Args:
        front: [B or 1, 8], sine and cosine of each harmonic of the azimuth of the given picture's camera, counted from
            the front of what is in it, as somebody tells them. They are turned by what the camera turns.
        cameras: `B`, that look at the origin. reference: one, or `B`. light: as for `view_vector`.
    Returns:
        [B, 16].
    """
    turn = relative_pose(cameras, reference)[1]
    angle = torch.stack([k * turn for k in HARMONICS], -1)
    sine, cosine = front[:, 0::2], front[:, 1::2]
    pairs = [sine * angle.cos() + cosine * angle.sin(), cosine * angle.cos() - sine * angle.sin()]
    view = view_vector(cameras, light)
    return torch.cat([view[:, :1], torch.stack(pairs, -1).flatten(1), view[:, 1 + 2 * len(HARMONICS) :]], -1)
