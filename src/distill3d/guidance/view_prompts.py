"""View-dependent prompts, for priors that have no camera input (Poole et al. 2023, section 3.2).

Either the view is the nearest of four words, or the texts of two neighbouring words are blended with the azimuth, and
Perp-Neg turns away from those that are elsewhere (Armandpour et al. 2023, section 4).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.view_names import BACK, FRONT, OVERHEAD, view_names, with_view

__all__ = ["BACK", "FRONT", "OVERHEAD", "view_names", "view_prompts"]

VIEWS = ("front", "side", "back", "overhead")


def view_prompts(prompt: str, cameras: Cameras) -> list[str]:
    """`prompt` with ", front view" and the like appended, one for each camera."""
    return [with_view(prompt, name) for name in view_names(cameras)]


def every_view(prompt: str) -> list[str]:
    """The prompt with each of `VIEWS` appended."""
    return [with_view(prompt, name) for name in VIEWS]


def view_shares(cameras: Cameras) -> Tensor:
    """How much of each of `VIEWS` a camera sees, [B, 4], continuous in azimuth and elevation; rows add up to 1.

    Front turns into side and side into back, linearly in the azimuth; overhead takes over from 10 degrees below
    `OVERHEAD` to 10 above.
    """
    quarter = cameras.azimuth.abs() / (math.pi / 2)  # 0 front, 1 side, 2 back
    above = ((cameras.elevation - OVERHEAD) / math.radians(20) + 0.5).clamp(0, 1)
    around = torch.stack([(1 - quarter).clamp(min=0), 1 - (quarter - 1).abs(), (quarter - 1).clamp(min=0)], 1)
    return torch.cat([around * (1 - above)[:, None], above[:, None]], 1)


def other_view_weights(cameras: Cameras) -> Tensor:
    """Perp-Neg's weights of the front and of the side view as negative prompts, [B, 2], at most 0, and continuous.

    `w = -(a exp(-b r) + c)` of the share r, with the authors' a, b and c: a view that is not the camera's own is turned
    away from the more, the less of it is seen; a prior that likes fronts is held back most at the back.
    """
    quarter = cameras.azimuth.abs() / (math.pi / 2)
    before = quarter < 1
    front = torch.where(before, decay(4, -2.426, 1 - quarter), decay(1, 0.967, 2 - quarter))
    side = torch.where(before, decay(4, -2.426, quarter), decay(1, -0.606, 2 - quarter))
    around = 1 - view_shares(cameras)[:, 3:]
    return -torch.stack([front, side], 1).clamp(min=0) * around


def decay(a: float, c: float, r: Tensor, b: float = 0.5) -> Tensor:
    """`a exp(-b r) + c`."""
    return a * torch.exp(-b * r) + c
