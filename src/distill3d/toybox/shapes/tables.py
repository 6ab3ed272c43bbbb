"""Tables: top rectangular or round; four legs, a pedestal or side panels; a shelf or none."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from distill3d.toybox.categories.building import Paint, box, cylinder, draw
from distill3d.toybox.parts import Part
from distill3d.toybox.shapes.supports import four_legs


def build_table(rng: np.random.Generator, paint: Paint, attributes: Mapping[str, str]) -> list[Part]:
    """Parts at any scale; the long side lies along y."""
    height, thick = draw(rng, 0.45, 0.75), draw(rng, 0.045, 0.065)
    if attributes["top"] == "round":
        depth = width = draw(rng, 0.46, 0.62)
        parts = [cylinder("top", paint, width, thick, (0.0, 0.0, height))]
        inset = 0.64
    else:
        depth, width = draw(rng, 0.36, 0.5), draw(rng, 0.56, 0.75)
        parts = [box("top", paint, (depth, width, thick), (0.0, 0.0, height))]
        inset = 0.95
    x, y = depth * inset, width * inset
    if attributes["legs"] == "four":
        parts += four_legs(rng, paint, x, y, height)
    elif attributes["legs"] == "panels":
        for side in (1, -1):
            panel = draw(rng, 0.05, 0.06)
            parts.append(box("panel", paint, (x * 0.9, panel, height / 2), (0.0, side * (y - panel), height / 2)))
    else:
        parts.append(cylinder("pedestal", paint, draw(rng, 0.07, 0.1), height / 2, (0.0, 0.0, height / 2)))
        parts.append(cylinder("foot", paint, draw(rng, 0.26, 0.34), 0.05, (0.0, 0.0, 0.05)))
    if attributes["shelf"] == "shelf":
        at = height * draw(rng, 0.35, 0.5)
        share = 0.6 if attributes["legs"] == "pedestal" else 0.96
        parts.append(box("shelf", paint, (x * share, y * share, 0.05), (0.0, 0.0, at)))
    return parts
