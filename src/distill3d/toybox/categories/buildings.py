"""Buildings; the door is on the +x side."""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np

from distill3d.toybox.categories.building import (
    ALONG_X,
    CREAM,
    DARK,
    GLASS,
    LIGHT,
    SIGNAL,
    STEEL,
    TRUNK,
    WHITE,
    Category,
    Paint,
    about_x,
    box,
    chance,
    cone,
    cylinder,
    draw,
    frustum,
    pyramid,
    wedge,
)
from distill3d.toybox.parts import Part

ROOF = Paint((0.62, 0.22, 0.16))
SLATE = Paint((0.33, 0.36, 0.42))
BRICK = Paint((0.6, 0.3, 0.22))


def house(rng: np.random.Generator, main: Paint) -> list[Part]:
    depth, width, half = draw(rng, 0.4, 0.55), draw(rng, 0.36, 0.5), draw(rng, 0.24, 0.36)
    rise = draw(rng, 0.14, 0.24)
    roof = SLATE if (main.color[0] > 0.4 and main.color[1] < 0.3) or chance(rng, 0.4) else ROOF
    parts = [
        box("walls", main, (depth, width, half), (0.0, 0.0, half)),
        wedge("roof", roof, (depth + 0.06, width + 0.1, rise), (0.0, 0.0, 2 * half + rise)),
        box("door", TRUNK, (0.025, 0.1, half * 0.62), (depth, 0.0, half * 0.62)),
        box("step", STEEL, (0.12, 0.16, 0.035), (depth + 0.1, 0.0, 0.035)),
        box("porch roof", roof, (0.13, 0.17, 0.025), (depth + 0.12, 0.0, half * 1.36)),
    ]
    for side in (1, -1):
        if width > 0.4:
            parts.append(box("window", GLASS, (0.02, 0.08, 0.09), (depth, side * width * 0.65, half * 1.05)))
        parts.append(box("window", GLASS, (depth * 0.28, 0.02, 0.11), (draw(rng, -0.1, 0.1), side * width, half * 1.1)))
    if chance(rng, 0.7):
        side = 1 if chance(rng, 0.5) else -1
        center = (-depth * 0.55, side * width * 0.45, 2 * half + 1.55 * rise)
        parts.append(box("chimney", BRICK, (0.08, 0.08, rise * 0.85), center))
    return parts


def tower(rng: np.random.Generator, main: Paint) -> list[Part]:
    radius, half, merlons = draw(rng, 0.26, 0.34), draw(rng, 0.5, 0.7), int(rng.integers(6, 9))
    top = 2 * half
    parts = [
        frustum("wall", main, radius * draw(rng, 1.05, 1.3), radius, half, (0.0, 0.0, half)),
        cylinder("parapet", main, radius * 1.2, 0.08, (0.0, 0.0, top)),
        box("door", TRUNK, (0.09, 0.12, 0.2), (radius * 1.1, 0.0, 0.2)),
        box("step", STEEL, (0.13, 0.17, 0.04), (radius * 1.2 + 0.1, 0.0, 0.04)),
        box("window", DARK, (0.06, 0.05, 0.11), (radius, 0.0, top * 0.68)),
    ]
    if chance(rng, 0.4):
        rise = draw(rng, 0.22, 0.36)
        parts.append(cone("roof", SLATE, radius * 1.32, rise, (0.0, 0.0, top + 0.08 + rise)))
        return parts
    for i in range(merlons):
        angle = 2 * pi * i / merlons
        center = (radius * 1.07 * cos(angle), radius * 1.07 * sin(angle), top + 0.13)
        parts.append(cylinder("merlon", main, 0.075, 0.08, center))
    return parts


def castle(rng: np.random.Generator, main: Paint) -> list[Part]:
    reach, half, radius = draw(rng, 0.48, 0.58), draw(rng, 0.2, 0.28), draw(rng, 0.13, 0.18)
    towers, rise = half * draw(rng, 1.4, 1.9), draw(rng, 0.12, 0.2)
    roof = SLATE if main.color[0] > 0.4 else ROOF
    keep = draw(rng, 0.2, 0.27)
    parts = [
        box("walls", main, (reach, reach, half), (0.0, 0.0, half)),
        box("keep", main, (keep, keep, half * 1.1), (-0.12, 0.0, half * 2.6)),
        pyramid("keep roof", roof, (keep + 0.05, keep + 0.05, rise), (-0.12, 0.0, half * 3.7 + rise)),
        box("gatehouse", main, (0.09, 0.22, half * 1.2), (reach + 0.06, 0.0, half * 1.2)),
        box("gate", TRUNK, (0.03, 0.13, half * 0.75), (reach + 0.14, 0.0, half * 0.75)),
    ]
    for x in (reach, -reach):
        for y in (reach, -reach):
            parts.append(cylinder("tower", main, radius, towers, (x, y, towers)))
            parts.append(cone("tower roof", roof, radius * 1.25, rise, (x, y, 2 * towers + rise)))
    return parts


def lighthouse(rng: np.random.Generator, main: Paint) -> list[Part]:
    radius, half = draw(rng, 0.24, 0.3), draw(rng, 0.5, 0.65)
    upper, top = radius * draw(rng, 0.6, 0.72), 2 * half + 0.1
    band = WHITE if min(main.color) < 0.9 else SIGNAL
    parts = [
        cylinder("rock", Paint((0.45, 0.43, 0.4)), radius * 1.7, 0.06, (0.0, 0.0, 0.06)),
        frustum("shaft", main, radius, upper, half, (0.0, 0.0, half + 0.1)),
        cylinder("gallery", DARK, upper * 1.4, 0.03, (0.0, 0.0, top)),
        cylinder("lantern", LIGHT, upper * 0.75, 0.11, (0.0, 0.0, top + 0.13)),
        cone("cap", main if chance(rng, 0.5) else SIGNAL, upper * 1.15, 0.12, (0.0, 0.0, top + 0.35)),
        box("hut", CREAM, (0.17, 0.13, 0.12), (radius + 0.08, 0.0, 0.2)),
        wedge("hut roof", ROOF, (0.19, 0.16, 0.06), (radius + 0.08, 0.0, 0.37)),
        box("door", TRUNK, (0.02, 0.05, 0.09), (radius + 0.25, 0.0, 0.18)),
    ]
    for share in (0.35, 0.72) if main.material == "plain" else ():
        wide = radius + (upper - radius) * share
        parts.append(frustum("band", band, wide * 1.05, wide * 0.98, half * 0.14, (0.0, 0.0, 0.1 + 2 * half * share)))
    return parts


def windmill(rng: np.random.Generator, main: Paint) -> list[Part]:
    base, half, cap = draw(rng, 0.32, 0.4), draw(rng, 0.42, 0.55), draw(rng, 0.2, 0.25)
    top, blade, turn = 2 * half, draw(rng, 0.26, 0.36), draw(rng, 0.0, pi / 2)
    hub = cap + 0.13
    parts = [
        frustum("body", main, base, cap, half, (0.0, 0.0, half)),
        cone("cap", SLATE if main.color[0] > 0.4 else ROOF, cap * 1.25, 0.15, (0.0, 0.0, top + 0.15)),
        cylinder("hub", DARK, 0.06, 0.12, (hub - 0.1, 0.0, top - 0.05), ALONG_X),
        box("door", TRUNK, (0.08, 0.11, 0.18), (base * 0.87, 0.0, 0.18)),
    ]
    for i in range(4):
        angle = turn + pi / 2 * i
        out = blade + 0.05
        center = (hub, -out * sin(angle), top - 0.05 + out * cos(angle))
        parts.append(box("sail", CREAM, (0.02, 0.09, blade), center, about_x(angle)))
    for side in (1, -1):
        parts.append(box("window", GLASS, (0.07, 0.04, 0.08), (0.0, side * (base + cap) / 2, half), about_x(0.0)))
    return parts


BUILDINGS = (
    Category("house", house, 1, ("wooden", "checkered")),
    Category("tower", tower, 1, ("checkered",)),
    Category("castle", castle, 1),
    Category("lighthouse", lighthouse, 1, ("striped",)),
    Category("windmill", windmill, 1, ("wooden",)),
)
