"""View-dependent prompts, for priors that have no camera input (Poole et al. 2023, section 3.2)."""

from __future__ import annotations

from distill3d.core.cameras import Cameras
from distill3d.core.view_names import BACK, FRONT, OVERHEAD, view_names, with_view

__all__ = ["BACK", "FRONT", "OVERHEAD", "view_names", "view_prompts"]


def view_prompts(prompt: str, cameras: Cameras) -> list[str]:
    """`prompt` with ", front view" and the like appended, one for each camera."""
    return [with_view(prompt, name) for name in view_names(cameras)]
