"""Chairs: arms none, straight or round; legs four, a pedestal or wheels; back solid, slatted, with gaps or rounded.

Whoever sits looks towards +x. Bars and legs are thick, so that a grid of 64 cells can count them.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import cos, pi, sin

import numpy as np

from distill3d.toybox.categories.building import ALONG_X, UPRIGHT, Paint, box, cylinder, draw, rod, torus
from distill3d.toybox.parts import Part
from distill3d.toybox.shapes.supports import four_legs

# A ring that stands in the plane of x and z.
_STANDING = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


def build_chair(rng: np.random.Generator, paint: Paint, attributes: Mapping[str, str]) -> list[Part]:
    """Parts at any scale."""
    depth, width, height = draw(rng, 0.28, 0.36), draw(rng, 0.28, 0.40), draw(rng, 0.42, 0.62)
    parts = [box("seat", paint, (depth, width, draw(rng, 0.045, 0.065)), (0.0, 0.0, height))]
    parts += _legs(rng, paint, attributes["legs"], depth, width, height)
    parts += _back(rng, paint, attributes["back"], depth, width, height)
    parts += _arms(rng, paint, attributes["arms"], depth, width, height)
    return parts


def _legs(rng: np.random.Generator, paint: Paint, style: str, depth: float, width: float, height: float) -> list[Part]:
    if style == "four":
        return four_legs(rng, paint, depth, width, height)
    stem = draw(rng, 0.05, 0.07)
    if style == "pedestal":
        foot = draw(rng, 0.22, 0.30)
        return [
            cylinder("pedestal", paint, stem, height / 2, (0.0, 0.0, height / 2)),
            cylinder("foot", paint, foot, 0.05, (0.0, 0.0, 0.05)),
        ]
    # Five spokes, a wheel under the end of each.
    reach, wheel = draw(rng, 0.28, 0.34), draw(rng, 0.07, 0.085)
    parts = [cylinder("pedestal", paint, stem, height / 2 - wheel, (0.0, 0.0, height / 2 + wheel))]
    for k in range(5):
        x, y = reach * cos(2 * pi * k / 5), reach * sin(2 * pi * k / 5)
        parts.append(rod("spoke", paint, (0.0, 0.0, 2.6 * wheel), (x, y, 2.2 * wheel), 0.045))
        parts.append(box("wheel", paint, (wheel, 0.8 * wheel, wheel), (x, y, wheel), UPRIGHT))
    return parts


def _back(rng: np.random.Generator, paint: Paint, style: str, depth: float, width: float, height: float) -> list[Part]:
    half, thick = draw(rng, 0.28, 0.42), draw(rng, 0.045, 0.06)
    x, bottom = thick - depth, height
    top = bottom + 2 * half
    if style == "solid":
        return [box("back", paint, (thick, width, half), (x, 0.0, bottom + half))]
    if style == "rounded":
        straight = max(0.05, half - width / 2)
        centre = bottom + 2 * straight
        return [
            box("back", paint, (thick, width, straight), (x, 0.0, bottom + straight)),
            cylinder("back", paint, width, thick, (x, 0.0, centre), ALONG_X),
        ]
    post = draw(rng, 0.045, 0.055)
    parts = [box("back post", paint, (thick, post, half), (x, s * (width - post), bottom + half)) for s in (1, -1)]
    if style == "slatted":
        rail = 0.05
        parts.append(box("back rail", paint, (thick, width, rail), (x, 0.0, top - rail)))
        inside = width - 2 * post
        count = 1 if inside < 0.26 else 2
        for k in range(count):
            y = 0.72 * inside * ((2 * k + 1) / count - 1)
            parts.append(box("slat", paint, (thick * 0.9, 0.045, half), (x, y, bottom + half)))
        return parts
    for share in (0.42, 0.94):  # two bars across, open between them
        at = bottom + 2 * half * share
        parts.append(box("back rail", paint, (thick, width, 0.05), (x, 0.0, at)))
    return parts


def _arms(rng: np.random.Generator, paint: Paint, style: str, depth: float, width: float, height: float) -> list[Part]:
    if style == "none":
        return []
    thick = draw(rng, 0.045, 0.055)
    y = width + thick * 0.4
    ring, rise = min(depth * 0.72, 0.24), draw(rng, 0.20, 0.26)
    parts: list[Part] = []
    for side in (1, -1):
        if style == "round":
            parts.append(torus("arm", paint, ring, thick, (0.05, side * y, height + ring * 0.55), _STANDING))
        else:
            parts.append(box("arm", paint, (depth * 0.95, thick, thick), (0.0, side * y, height + rise)))
            at = (depth * 0.95 - thick, side * y, height + rise / 2)
            parts.append(box("arm post", paint, (thick, thick, rise / 2 + 0.03), at))
    return parts
