"""Lamps: shade conical, cylindrical or round; a flat base or three feet."""

from __future__ import annotations

from collections.abc import Mapping
from math import cos, pi, sin

import numpy as np

from distill3d.toybox.categories.building import Paint, ball, cylinder, draw, frustum, rod
from distill3d.toybox.parts import Part


def build_lamp(rng: np.random.Generator, paint: Paint, attributes: Mapping[str, str]) -> list[Part]:
    """Parts at any scale."""
    height, wide, half = draw(rng, 0.7, 1.1), draw(rng, 0.30, 0.40), draw(rng, 0.18, 0.28)
    if attributes["shade"] == "cone":
        shade = frustum("shade", paint, wide, wide * draw(rng, 0.3, 0.45), half, (0.0, 0.0, height))
    elif attributes["shade"] == "drum":
        shade = cylinder("shade", paint, wide * 0.85, half, (0.0, 0.0, height))
    else:
        shade = ball("shade", paint, wide * 0.85, (0.0, 0.0, height))
    stem = draw(rng, 0.045, 0.06)
    if attributes["base"] == "disc":
        radius = draw(rng, 0.24, 0.34)
        return [
            shade,
            cylinder("stem", paint, stem, height / 2, (0.0, 0.0, height / 2)),
            cylinder("base", paint, radius, 0.05, (0.0, 0.0, 0.05)),
        ]
    knot, reach = height * draw(rng, 0.3, 0.42), draw(rng, 0.28, 0.36)
    parts = [shade, cylinder("stem", paint, stem, (height - knot) / 2 + 0.03, (0.0, 0.0, (height + knot) / 2 - 0.03))]
    for k in range(3):
        foot = (reach * cos(2 * pi * k / 3), reach * sin(2 * pi * k / 3), 0.0)
        parts.append(rod("foot", paint, foot, (0.0, 0.0, knot), stem, stem))
    return parts
