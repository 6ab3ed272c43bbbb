"""Planes: wings straight or swept; no engines, two or four; tail low or high. The nose points to +x."""

from __future__ import annotations

from collections.abc import Mapping
from math import hypot

import numpy as np

from distill3d.toybox.categories.building import ALONG_X, Paint, about_z, box, capsule, draw, ellipsoid
from distill3d.toybox.parts import Part


def build_plane(rng: np.random.Generator, paint: Paint, attributes: Mapping[str, str]) -> list[Part]:
    """Parts at any scale."""
    length, radius = draw(rng, 0.6, 0.75), draw(rng, 0.10, 0.13)
    span, chord = draw(rng, 0.6, 0.8), draw(rng, 0.12, 0.17)
    sweep = draw(rng, 0.5, 0.65) if attributes["wings"] == "swept" else 0.0  # how far the tips lie back, of the span
    parts = [capsule("body", paint, radius, length, (0.0, 0.0, 0.0), ALONG_X)]
    root = 0.1 + sweep * span / 2
    parts += [_wing("wing", paint, side, span, chord, sweep, root, -0.02) for side in (1, -1)]
    count = {"none": 0, "two": 1, "four": 2}[attributes["engines"]]
    for place in ((0.42,), (0.32, 0.66))[count - 1] if count else ():
        for side in (1, -1):
            at = (root - sweep * span * place + 0.1, side * span * place, -0.12)
            parts.append(ellipsoid("engine", paint, (0.17, 0.075, 0.075), at))
    fin = draw(rng, 0.16, 0.20)
    back = -length - 0.02
    parts.append(box("fin", paint, (0.10, 0.04, fin), (back, 0.0, radius * 0.5 + fin)))
    level = radius * 0.5 + 2 * fin - 0.04 if attributes["tail"] == "high" else 0.0
    parts += [_wing("tail", paint, side, 0.3, 0.09, sweep * 0.6, back, level) for side in (1, -1)]
    return parts


def _wing(
    name: str, paint: Paint, side: int, span: float, chord: float, sweep: float, root: float, level: float
) -> Part:
    """A board from the middle of the body out to `span`, its tip `sweep` x `span` further back than its root."""
    half = span * hypot(1.0, sweep) / 2
    turn = about_z(side * float(np.arctan(sweep)))
    return box(name, paint, (chord, half, 0.04), (root - sweep * span / 2, side * span / 2, level), turn)
