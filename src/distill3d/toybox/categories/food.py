"""Things to eat."""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np

from distill3d.toybox.categories.building import (
    CREAM,
    DOUGH,
    DOWNWARD,
    LEAF,
    TRUNK,
    WHITE,
    Category,
    Paint,
    about_y,
    about_z,
    ball,
    box,
    chance,
    cone,
    cylinder,
    draw,
    ellipsoid,
    rod,
    torus,
)
from distill3d.toybox.parts import Part

CHERRY = Paint((0.8, 0.05, 0.12))
CHEESE = Paint((1.0, 0.78, 0.15))
PATTY = Paint((0.35, 0.18, 0.09))
TOMATO = Paint((0.88, 0.15, 0.1))


def ice_cream(rng: np.random.Generator, main: Paint) -> list[Part]:
    radius, half = draw(rng, 0.26, 0.34), draw(rng, 0.38, 0.52)
    z = half + radius * 0.45
    parts = [
        cone("cone", DOUGH, radius, half, rotation=DOWNWARD),
        ball("scoop", main, radius * 1.12, (0.0, 0.0, z)),
        torus("drip", main, radius * 0.95, radius * 0.22, (0.0, 0.0, half)),
    ]
    top = z + radius * 1.12
    if chance(rng, 0.35):
        z += radius * 1.35
        parts.append(ball("scoop", main, radius * 0.92, (0.0, 0.0, z)))
        top = z + radius * 0.92
    if chance(rng, 0.5):
        parts.append(ball("cherry", CHERRY, 0.085, (0.0, 0.0, top + 0.04)))
    return parts


def hamburger(rng: np.random.Generator, main: Paint) -> list[Part]:
    radius, patty = draw(rng, 0.5, 0.6), draw(rng, 0.07, 0.12)
    dome = draw(rng, 0.24, 0.36)
    z = 0.09
    parts = [cylinder("bottom bun", main, radius * 0.96, z, (0.0, 0.0, z))]
    z *= 2
    parts.append(cylinder("patty", PATTY, radius * 1.03, patty, (0.0, 0.0, z + patty)))
    z += 2 * patty
    if chance(rng, 0.7):
        parts.append(
            box("cheese", CHEESE, (radius * 0.8, radius * 0.8, 0.02), (0.0, 0.0, z), about_z(draw(rng, 0, pi)))
        )
        z += 0.02
    if chance(rng, 0.6):
        parts.append(cylinder("tomato", TOMATO, radius * 0.97, 0.035, (0.0, 0.0, z + 0.035)))
        z += 0.07
    parts.append(torus("lettuce", LEAF, radius * 0.93, 0.06, (0.0, 0.0, z + 0.03)))
    parts.append(cylinder("lettuce leaf", LEAF, radius * 0.93, 0.03, (0.0, 0.0, z + 0.03)))
    z += 0.06
    # The bun's lower half hides inside the filling, its rim shows as a collar.
    parts.append(cylinder("top bun", main, radius, 0.05, (0.0, 0.0, z + 0.05)))
    parts.append(ellipsoid("top bun", main, (radius, radius, dome), (0.0, 0.0, z + 0.1)))
    if main.material == "plain":
        turn = draw(rng, 0.0, 2 * pi)
        for i in range(int(rng.integers(0, 6))):
            angle, up = turn + 2.4 * i, 0.8 - 0.06 * i
            flat = (1 - up * up) ** 0.5 * radius
            center = (flat * cos(angle), flat * sin(angle), z + 0.1 + dome * up)
            parts.append(ellipsoid("sesame", CREAM, (0.045, 0.03, 0.03), center, about_z(angle)))
    return parts


def cake(rng: np.random.Generator, main: Paint) -> list[Part]:
    tiers, radius, half = int(rng.integers(1, 4)), draw(rng, 0.45, 0.58), draw(rng, 0.13, 0.2)
    icing = WHITE if min(main.color) < 0.9 else Paint((1.0, 0.7, 0.8))
    parts = [cylinder("plate", Paint((0.75, 0.77, 0.82)), radius * 1.22, 0.025, (0.0, 0.0, 0.025))]
    z = 0.05
    for i in range(tiers):
        wide = radius * (1 - 0.28 * i)
        parts.append(cylinder("tier", main, wide, half, (0.0, 0.0, z + half)))
        z += 2 * half
        parts.append(torus("icing", icing, wide - 0.01, 0.05, (0.0, 0.0, z - 0.02)))
    candles = int(rng.integers(0, 4))
    ring = radius * (1 - 0.28 * (tiers - 1)) * 0.45 if candles > 1 else 0.0
    for i in range(candles):
        angle = 2 * pi * i / candles
        x, y = ring * cos(angle), ring * sin(angle)
        parts.append(cylinder("candle", CREAM, 0.03, 0.1, (x, y, z + 0.1)))
        parts.append(ellipsoid("flame", Paint((1.0, 0.65, 0.1)), (0.035, 0.035, 0.06), (x, y, z + 0.25)))
    if candles == 0:
        parts.append(ball("cherry", CHERRY, 0.1, (0.0, 0.0, z + 0.06)))
    return parts


def cupcake(rng: np.random.Generator, main: Paint) -> list[Part]:
    radius, half = draw(rng, 0.32, 0.4), draw(rng, 0.18, 0.25)
    wrapper = Paint((0.93, 0.75, 0.5))
    parts = [
        Part("wrapper", "frustum", (radius * 0.72, radius, half), (0.0, 0.0, half), wrapper.color),
        torus("icing", main, radius * 0.82, radius * 0.3, (0.0, 0.0, 2 * half + 0.04)),
        torus("icing", main, radius * 0.52, radius * 0.3, (0.0, 0.0, 2 * half + radius * 0.5)),
        ellipsoid("icing", main, (radius * 0.5, radius * 0.5, radius * 0.7), (0.0, 0.0, 2 * half + radius * 0.7)),
    ]
    if chance(rng, 0.6):
        parts.append(ball("cherry", CHERRY, 0.09, (0.0, 0.0, 2 * half + radius * 1.4 + 0.05)))
    return parts


def donut(rng: np.random.Generator, main: Paint) -> list[Part]:
    ring, tube = 0.55, draw(rng, 0.19, 0.25)
    parts = [
        torus("dough", DOUGH, ring, tube),
        torus("icing", main, ring, tube * 0.96, (0.0, 0.0, tube * 0.22)),
    ]
    sprinkles, turn = int(rng.integers(0, 11)), draw(rng, 0.0, 2 * pi)
    for i in range(sprinkles):
        angle = turn + 2 * pi * i / sprinkles
        out = ring + draw(rng, -0.1, 0.1)
        paint = WHITE if i % 2 else CHEESE
        center = (out * cos(angle), out * sin(angle), tube * 1.1)
        rotation = about_z(draw(rng, 0.0, pi))
        parts.append(ellipsoid("sprinkle", paint, (0.06, 0.025, 0.025), center, rotation))
    return parts


def apple(rng: np.random.Generator, main: Paint) -> list[Part]:
    wide, tall = draw(rng, 0.4, 0.46), draw(rng, 0.36, 0.44)
    stem = draw(rng, 0.2, 0.3)
    parts = [
        ellipsoid("body", main, (wide, wide, tall)),
        torus("crown", main, wide * 0.42, wide * 0.42, (0.0, 0.0, tall * 0.35)),
        rod("stem", TRUNK, (0.0, 0.0, tall * 0.5), (0.0, 0.05, tall + stem), 0.035),
    ]
    center = (0.17, 0.0, tall + stem * 0.6)
    parts.append(ellipsoid("leaf", LEAF, (0.19, 0.09, 0.03), center, about_y(-0.4)))
    return parts


def lollipop(rng: np.random.Generator, main: Paint) -> list[Part]:
    radius, half = draw(rng, 0.28, 0.36), draw(rng, 0.4, 0.52)
    top = 2 * half + radius * 0.9
    parts = [
        cylinder("stick", WHITE, 0.035, half + 0.05, (0.0, 0.0, half)),
        ellipsoid("candy", main, (radius, radius, radius), (0.0, 0.0, top)),
    ]
    if chance(rng, 0.6):
        parts.append(torus("band", WHITE, radius * 0.98, 0.04, (0.0, 0.0, top)))
    return parts


FOOD = (
    Category("ice cream", ice_cream, 0, ("dotted",)),
    Category("hamburger", hamburger, 0),
    Category("cake", cake, 0, ("striped", "dotted")),
    Category("cupcake", cupcake, 0, ("dotted",)),
    Category("donut", donut, 0),
    Category("apple", apple, 1, front=False),
    Category("lollipop", lollipop, 0, ("striped",)),
)
