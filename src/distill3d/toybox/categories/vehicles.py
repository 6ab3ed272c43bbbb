"""Things that go; they drive, sail and fly towards +x, and rockets stand upright."""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np

from distill3d.toybox.categories.building import (
    ALONG_X,
    ALONG_Y,
    BLACK,
    CREAM,
    DARK,
    GLASS,
    LIGHT,
    SIGNAL,
    STEEL,
    TIMBER,
    Category,
    Paint,
    about_y,
    about_z,
    ball,
    box,
    capsule,
    chance,
    cone,
    cylinder,
    draw,
    ellipsoid,
    frustum,
    pyramid,
    rod,
)
from distill3d.toybox.parts import Part

FIRE = Paint((1.0, 0.55, 0.08))


def _wheels(xs: tuple[float, ...], y: float, radius: float, width: float) -> list[Part]:
    return [cylinder("wheel", BLACK, radius, width, (x, s * y, radius), ALONG_Y) for x in xs for s in (1, -1)]


def _lights(front: float, back: float, y: float, z: float, size: float) -> list[Part]:
    parts = []
    for side in (1, -1):
        parts.append(box("headlight", LIGHT, (0.025, size, size), (front, side * y, z)))
        parts.append(box("tail light", SIGNAL, (0.025, size, size * 0.8), (back, side * y, z)))
    return parts


def car(rng: np.random.Generator, main: Paint) -> list[Part]:
    long, wide, half = draw(rng, 0.68, 0.82), draw(rng, 0.3, 0.37), draw(rng, 0.11, 0.15)
    wheel, cabin, tall = draw(rng, 0.14, 0.18), draw(rng, 0.32, 0.42), draw(rng, 0.12, 0.17)
    z = wheel * 0.75 + half
    shift, roof = draw(rng, 0.12, 0.2), z + half + tall
    parts = [
        box("body", main, (long, wide, half), (0.0, 0.0, z)),
        box("cabin", main, (cabin, wide * 0.9, tall), (-shift, 0.0, roof)),
        box("windscreen", GLASS, (0.03, wide * 0.78, tall * 0.78), (cabin - shift, 0.0, roof - 0.01)),
        box("rear window", GLASS, (0.03, wide * 0.62, tall * 0.5), (-cabin - shift, 0.0, roof + 0.02)),
        box("side windows", GLASS, (cabin * 0.82, wide * 0.93, tall * 0.6), (-shift, 0.0, roof)),
        box("bumper", STEEL, (0.04, wide * 0.95, 0.04), (long + 0.02, 0.0, z - half * 0.6)),
    ]
    return (
        parts
        + _wheels((long * 0.6, -long * 0.6), wide, wheel, 0.07)
        + _lights(long, -long, wide * 0.7, z + half * 0.3, 0.06)
    )


def truck(rng: np.random.Generator, main: Paint) -> list[Part]:
    long, wide, wheel = draw(rng, 0.78, 0.92), draw(rng, 0.28, 0.35), draw(rng, 0.13, 0.16)
    cab, tall, load = draw(rng, 0.19, 0.24), draw(rng, 0.24, 0.3), draw(rng, 0.26, 0.38)
    floor = wheel * 1.3
    x = long - cab
    bed = (2 * long - 2 * cab - 0.06) / 2
    cargo = Paint((0.88, 0.88, 0.86)) if min(main.color) < 0.8 else Paint((0.6, 0.62, 0.66))
    parts = [
        box("chassis", DARK, (long, wide * 0.8, 0.05), (0.0, 0.0, floor)),
        box("cab", main, (cab, wide, tall), (x, 0.0, floor + tall)),
        box("windscreen", GLASS, (0.025, wide * 0.85, tall * 0.36), (long, 0.0, floor + tall * 1.4)),
        box("side windows", GLASS, (cab * 0.6, wide + 0.015, tall * 0.3), (x + 0.03, 0.0, floor + tall * 1.4)),
        box("grille", STEEL, (0.03, wide * 0.5, tall * 0.22), (long, 0.0, floor + tall * 0.4)),
    ]
    if chance(rng, 0.6):
        parts.append(box("cargo", cargo, (bed, wide * 1.05, load), (bed - long, 0.0, floor + load)))
    else:
        for side in (1, -1):
            parts.append(box("side board", TIMBER, (bed, 0.03, 0.11), (bed - long, side * wide, floor + 0.12)))
        parts.append(box("tail board", TIMBER, (0.03, wide, 0.11), (-long, 0.0, floor + 0.12)))
    for side in (1, -1):
        parts.append(box("headlight", LIGHT, (0.03, 0.05, 0.05), (long, side * wide * 0.75, floor + tall * 0.4)))
    return parts + _wheels((x, bed * 0.25 - long * 0.9), wide, wheel, 0.06)


def bus(rng: np.random.Generator, main: Paint) -> list[Part]:
    long, wide, half = draw(rng, 0.78, 0.95), draw(rng, 0.26, 0.32), draw(rng, 0.26, 0.34)
    wheel = draw(rng, 0.12, 0.15)
    z = wheel * 0.8 + half
    band = half * draw(rng, 0.28, 0.36)
    parts = [
        box("body", main, (long, wide, half), (0.0, 0.0, z)),
        box("windscreen", GLASS, (0.025, wide * 0.88, half * 0.5), (long, 0.0, z + half * 0.3)),
        box("hood", main, (0.12, wide * 0.75, half * 0.4), (long + 0.1, 0.0, z - half * 0.55)),
        box("rear window", GLASS, (0.02, wide * 0.5, half * 0.25), (-long, 0.0, z + half * 0.45)),
    ]
    panes = int(rng.integers(3, 5))
    for i in range(panes):
        x = ((2 * i + 1) / panes - 1) * long * 0.88
        center = (x, 0.0, z + half * 0.35)
        parts.append(box("window", GLASS, (long * 0.7 / panes, wide + 0.015, band), center))
    parts += _wheels((long * 0.62, -long * 0.62), wide, wheel, 0.06)
    front = _lights(long + 0.22, -long, wide * 0.5, z - half * 0.5, 0.05)
    return parts + front


def train(rng: np.random.Generator, main: Paint) -> list[Part]:
    """A steam engine."""
    long, wide, boiler = draw(rng, 0.6, 0.72), draw(rng, 0.24, 0.29), draw(rng, 0.2, 0.25)
    wheel, cab, tall = draw(rng, 0.12, 0.15), draw(rng, 0.2, 0.26), draw(rng, 0.3, 0.38)
    floor = wheel * 1.5
    x, front = cab - long, long
    reach = (front - x) / 2
    stack = draw(rng, 0.14, 0.22)
    parts = [
        box("frame", DARK, (long, wide, 0.06), (0.0, 0.0, floor)),
        cylinder("boiler", main, boiler, reach, (x + reach, 0.0, floor + boiler + 0.04), ALONG_X),
        box("cab", main, (cab, wide, tall), (x, 0.0, floor + tall)),
        box("cab window", GLASS, (cab * 0.55, wide + 0.015, tall * 0.25), (x, 0.0, floor + tall * 1.45)),
        box("cab roof", DARK, (cab + 0.06, wide + 0.05, 0.03), (x, 0.0, floor + 2 * tall)),
        frustum("chimney", DARK, 0.07, 0.11, stack, (front - 0.16, 0.0, floor + 2 * boiler + stack)),
        ball("dome", STEEL, 0.11, (x + reach, 0.0, floor + 2 * boiler + 0.04)),
        cylinder("lamp", LIGHT, 0.08, 0.03, (front + 0.02, 0.0, floor + boiler + 0.06), ALONG_X),
        pyramid("cowcatcher", SIGNAL, (wide * 0.9, 0.09, 0.12), (front + 0.12, 0.0, 0.1), ALONG_X),
    ]
    return parts + _wheels((long * 0.7, 0.05, -long * 0.68), wide, wheel, 0.05)


def boat(rng: np.random.Generator, main: Paint) -> list[Part]:
    long, wide, half = draw(rng, 0.5, 0.65), draw(rng, 0.24, 0.32), draw(rng, 0.13, 0.18)
    bow = draw(rng, 0.3, 0.42)
    parts = [
        box("hull", main, (long, wide, half), (-bow / 2, 0.0, half)),
        # The bow is a pyramid laid down: its base is the hull's end, its tip points ahead.
        pyramid("bow", main, (wide, half, bow / 2), (long, 0.0, half), ALONG_X),
        box("deck", TIMBER, (long * 0.9, wide * 0.85, 0.02), (-bow / 2, 0.0, 2 * half)),
    ]
    if chance(rng, 0.5):
        mast, sail = draw(rng, 0.5, 0.65), draw(rng, 0.3, 0.4)
        x = -bow / 2 + 0.1
        parts.append(cylinder("mast", TIMBER, 0.03, mast, (x, 0.0, 2 * half + mast)))
        center = (x - sail * 0.5, 0.0, 2 * half + mast + 0.05)
        parts.append(pyramid("mainsail", CREAM, (sail * 0.9, 0.03, mast * 0.9), center))
        parts.append(
            pyramid("jib", CREAM, (sail * 0.55, 0.03, mast * 0.6), (x + sail * 0.7, 0.0, 2 * half + mast * 0.65))
        )
    else:
        cabin, tall = draw(rng, 0.2, 0.28), draw(rng, 0.13, 0.18)
        x, z = -bow / 2 - draw(rng, 0.0, 0.12), 2 * half + tall
        parts.append(box("cabin", CREAM, (cabin, wide * 0.7, tall), (x, 0.0, z)))
        parts.append(box("windscreen", GLASS, (0.02, wide * 0.6, tall * 0.45), (x + cabin, 0.0, z + 0.02)))
        parts.append(box("portholes", GLASS, (cabin * 0.6, wide * 0.72, tall * 0.35), (x, 0.0, z + 0.02)))
        stack = draw(rng, 0.1, 0.16)
        parts.append(cylinder("funnel", SIGNAL, 0.08, stack, (x - 0.05, 0.0, z + tall + stack)))
        parts.append(cylinder("funnel top", DARK, 0.085, 0.03, (x - 0.05, 0.0, z + tall + 2 * stack)))
    return parts


def rocket(rng: np.random.Generator, main: Paint) -> list[Part]:
    radius, half, nose = draw(rng, 0.2, 0.27), draw(rng, 0.4, 0.55), draw(rng, 0.2, 0.3)
    fins = 4 if chance(rng, 0.5) else 3
    accent = SIGNAL if main.color[0] < 0.8 or main.color[1] > 0.5 else Paint((0.85, 0.86, 0.9))
    z = half + 0.15
    parts = [
        cylinder("body", main, radius, half, (0.0, 0.0, z)),
        cone("nose", accent, radius, nose, (0.0, 0.0, z + half + nose)),
        frustum("engine", DARK, radius * 0.85, radius * 0.55, 0.08, (0.0, 0.0, 0.08)),
        cylinder("porthole frame", STEEL, 0.11, 0.05, (radius - 0.03, 0.0, z + half * 0.45), ALONG_X),
        cylinder("porthole", GLASS, 0.08, 0.06, (radius - 0.03, 0.0, z + half * 0.45), ALONG_X),
    ]
    span, tall = draw(rng, 0.15, 0.22), draw(rng, 0.2, 0.3)
    for i in range(fins):
        angle = 2 * pi * i / fins + pi
        out = radius + span * 0.4
        center = (out * cos(angle), out * sin(angle), tall + 0.02)
        parts.append(pyramid("fin", accent, (span, 0.035, tall), center, about_z(angle)))
    if chance(rng, 0.4):
        parts.append(cone("flame", FIRE, radius * 0.6, 0.16, (0.0, 0.0, -0.14), about_y(pi)))
    return parts


def airplane(rng: np.random.Generator, main: Paint) -> list[Part]:
    long, radius, span = draw(rng, 0.6, 0.75), draw(rng, 0.13, 0.17), draw(rng, 0.68, 0.85)
    chord, tail = draw(rng, 0.15, 0.2), draw(rng, 0.24, 0.32)
    low = -radius * 0.4 if chance(rng, 0.5) else radius * 0.3
    parts = [
        capsule("fuselage", main, radius, long - radius, rotation=ALONG_X),
        box("wing", main, (chord, span, 0.03), (0.08, 0.0, low)),
        box("tailplane", main, (0.1, tail, 0.025), (-long + 0.12, 0.0, 0.05)),
        box("fin", main, (0.1, 0.025, 0.17), (-long + 0.1, 0.0, radius + 0.1)),
        ellipsoid("cockpit", GLASS, (0.17, radius * 0.75, radius * 0.7), (long * 0.5, 0.0, radius * 0.75)),
    ]
    if chance(rng, 0.5):
        blade, turn = draw(rng, 0.2, 0.27), draw(rng, 0.0, pi)
        parts.append(box("propeller", DARK, (0.02, blade, 0.035), (long + 0.06, 0.0, 0.0), _roll(turn)))
        parts.append(cone("spinner", STEEL, 0.07, 0.09, (long + 0.05, 0.0, 0.0), ALONG_X))
    else:
        for side in (1, -1):
            center = (0.16, side * span * 0.45, low - 0.1)
            parts.append(cylinder("engine", STEEL, 0.085, 0.15, center, ALONG_X))
    parts.append(rod("wheel strut", DARK, (0.4, 0.0, -radius * 0.5), (0.42, 0.0, -radius - 0.16), 0.03))
    return parts


def _roll(angle: float) -> np.ndarray:
    """Rotation about x, the axis of a propeller."""
    c, s = cos(angle), sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


VEHICLES = (
    Category("car", car, 1, ("wooden", "striped", "checkered")),
    Category("truck", truck, 1, ("wooden",)),
    Category("bus", bus, 1, ("striped",)),
    Category("train", train, 1, ("wooden",)),
    Category("boat", boat, 1, ("wooden", "striped")),
    Category("rocket", rocket, 1, ("striped", "checkered"), front=False),
    Category("airplane", airplane, 1, ("wooden", "striped")),
)
