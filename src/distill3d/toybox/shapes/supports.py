"""What chairs and tables stand on alike."""

from __future__ import annotations

import numpy as np

from distill3d.toybox.categories.building import Paint, box, chance, draw, rod
from distill3d.toybox.parts import Part


def four_legs(rng: np.random.Generator, paint: Paint, depth: float, width: float, top: float) -> list[Part]:
    """Square or round legs from the floor to `top`, under the corners of a plate of half extents depth, width."""
    half, square, splay = draw(rng, 0.045, 0.06), chance(rng, 0.5), draw(rng, 0.0, 0.05)
    parts = []
    for sx, sy in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        x, y = sx * (depth - half), sy * (width - half)
        if square:
            parts.append(box("leg", paint, (half, half, top / 2), (x, y, top / 2)))
        else:
            parts.append(rod("leg", paint, (x + sx * splay, y + sy * splay, 0.0), (x, y, top), half))
    return parts
