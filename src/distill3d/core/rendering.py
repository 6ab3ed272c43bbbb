"""What every renderer returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class Rendering:
    """Pictures of a scene, channels last.

    Args:
        rgb: [B, H, W, 3], 0..1, composited over the background that was asked for.
        alpha: [B, H, W, 1], 0..1.
        depth: [B, H, W, 1], world units along the ray (expected distance; 0 where nothing is hit).
        normal: [B, H, W, 3], world space, unit length where alpha > 0, else 0; None when not asked for.
        extras: what a renderer's own regularisers or density control need, by name.
    """

    rgb: Tensor
    alpha: Tensor
    depth: Tensor
    normal: Tensor | None = None
    extras: dict[str, Any] = field(default_factory=dict)
