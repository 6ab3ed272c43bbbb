"""What people call the side that a camera sees: the words of view-dependent prompts (Poole et al. 2023, 3.2)."""

from __future__ import annotations

import math

from distill3d.core.cameras import Cameras

OVERHEAD = math.radians(60.0)
FRONT = math.radians(45.0)
BACK = math.radians(135.0)


def view_names(cameras: Cameras) -> list[str]:
    """ "front", "side", "back" or "overhead" for each camera: overhead above 60 degrees of elevation, else front
    within 45 degrees of azimuth 0, back beyond 135."""
    names = []
    for azimuth, elevation in zip(cameras.azimuth.tolist(), cameras.elevation.tolist(), strict=True):
        if elevation > OVERHEAD:
            names.append("overhead")
        elif abs(azimuth) < FRONT:
            names.append("front")
        else:
            names.append("back" if abs(azimuth) > BACK else "side")
    return names


def with_view(prompt: str, name: str) -> str:
    """`prompt` with ", front view" and the like appended."""
    return f"{prompt}, {name} view"
