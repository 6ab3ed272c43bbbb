"""What every reader hands over: pieces of surface, each with one material, in the axes of its file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Wrap = Literal["repeat", "mirror", "clamp"]


@dataclass(eq=False)
class Material:
    """How a part is coloured.

    Args:
        tint: [3] linear light, 0..1, a factor on the picture or on the vertex colours.
        picture: [H, W, 3] uint8 as pictures store colours, row 0 at the top, or None.
        wrap: what lies beyond the picture's border, along u and v.
    """

    tint: np.ndarray = field(default_factory=lambda: np.ones(3))
    picture: np.ndarray | None = None
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")


@dataclass(eq=False)
class Part:
    """Triangles of one material.

    Args:
        positions: [V, 3] float. faces: [F, 3] int64, 0 <= index < V.
        uv: [V, 2] float, (0, 0) at the bottom left of the picture, or None.
        colors: [V, 3] float, 0..1 as pictures store colours, or None.
    """

    positions: np.ndarray
    faces: np.ndarray
    uv: np.ndarray | None = None
    colors: np.ndarray | None = None
    material: Material = field(default_factory=Material)


@dataclass
class Parts:
    """A file's parts, and what was left out or put right while they were read, a line each."""

    parts: list[Part] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    name: str = "asset"

    def note(self, line: str) -> None:
        """Adds a line, once."""
        if line not in self.notices:
            self.notices.append(line)


def linear(srgb: np.ndarray) -> np.ndarray:
    """Colours as pictures store them -> linear light (IEC 61966-2-1), float64."""
    srgb = np.asarray(srgb, np.float64).clip(0, 1)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def stored(light: np.ndarray) -> np.ndarray:
    """Linear light -> colours as pictures store them, the inverse of `linear`."""
    light = np.asarray(light, np.float64).clip(0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
