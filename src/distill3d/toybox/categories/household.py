"""Things from a cupboard, a wardrobe or a shed."""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np

from distill3d.toybox.categories.building import (
    ALONG_X,
    ALONG_Y,
    CREAM,
    DARK,
    LIGHT,
    STEEL,
    TIMBER,
    WHITE,
    Category,
    Paint,
    ball,
    box,
    capsule,
    chance,
    cone,
    cylinder,
    draw,
    ellipsoid,
    frustum,
    rod,
    torus,
)
from distill3d.toybox.parts import Part

COFFEE = Paint((0.25, 0.14, 0.07))
RIBBON = Paint((0.98, 0.83, 0.25))


def mug(rng: np.random.Generator, main: Paint) -> list[Part]:
    bottom, half = draw(rng, 0.32, 0.42), draw(rng, 0.38, 0.5)
    top = bottom * draw(rng, 0.95, 1.15)
    ring, tube = half * draw(rng, 0.5, 0.62), draw(rng, 0.06, 0.085)
    return [
        frustum("body", main, bottom, top, half),
        torus("rim", main, top - 0.03, 0.04, (0.0, 0.0, half)),
        cylinder("coffee", COFFEE, top - 0.05, 0.012, (0.0, 0.0, half + 0.005)),
        torus("handle", main, ring, tube, (0.0, (bottom + top) / 2, 0.0), ALONG_X),
    ]


def teapot(rng: np.random.Generator, main: Paint) -> list[Part]:
    wide, tall = draw(rng, 0.42, 0.52), draw(rng, 0.34, 0.44)
    return [
        ellipsoid("body", main, (wide, wide, tall), (0.0, 0.0, tall)),
        cylinder("foot", main, wide * 0.6, 0.04, (0.0, 0.0, 0.04)),
        rod("spout", main, (wide * 0.7, 0.0, tall * 0.7), (wide + 0.3, 0.0, tall * 1.65), 0.12, 0.06),
        torus("handle", main, tall * 0.6, 0.055, (-wide, 0.0, tall * 1.05), ALONG_Y),
        ellipsoid("lid", main, (wide * 0.55, wide * 0.55, 0.12), (0.0, 0.0, tall * 1.85)),
        ball("knob", DARK if chance(rng, 0.5) else CREAM, draw(rng, 0.07, 0.1), (0.0, 0.0, tall * 1.85 + 0.16)),
    ]


def bottle(rng: np.random.Generator, main: Paint) -> list[Part]:
    wide, half = draw(rng, 0.2, 0.3), draw(rng, 0.32, 0.5)
    neck, shoulder, throat = wide * draw(rng, 0.3, 0.42), draw(rng, 0.08, 0.18), draw(rng, 0.1, 0.18)
    top = 2 * half + 2 * shoulder
    parts = [
        cylinder("body", main, wide, half, (0.0, 0.0, half)),
        frustum("shoulder", main, wide, neck, shoulder, (0.0, 0.0, 2 * half + shoulder)),
        cylinder("neck", main, neck, throat, (0.0, 0.0, top + throat)),
        cylinder("cap", TIMBER if chance(rng, 0.5) else DARK, neck * 1.15, 0.05, (0.0, 0.0, top + 2 * throat)),
    ]
    if chance(rng, 0.6):
        parts.append(cylinder("label", CREAM, wide * 1.03, half * 0.45, (0.0, 0.0, half)))
    return parts


def barrel(rng: np.random.Generator, main: Paint) -> list[Part]:
    end, half = draw(rng, 0.3, 0.38), draw(rng, 0.4, 0.52)
    belly = end * draw(rng, 1.15, 1.35)
    middle = (end + belly) / 2
    return [
        frustum("lower staves", main, end, belly, half / 2, (0.0, 0.0, -half / 2)),
        frustum("upper staves", main, belly, end, half / 2, (0.0, 0.0, half / 2)),
        cylinder("hoop", STEEL, middle * 1.05, 0.04, (0.0, 0.0, half * 0.5)),
        cylinder("hoop", STEEL, middle * 1.05, 0.04, (0.0, 0.0, -half * 0.5)),
        cylinder("hoop", STEEL, end * 1.05, 0.035, (0.0, 0.0, half - 0.03)),
        cylinder("hoop", STEEL, end * 1.05, 0.035, (0.0, 0.0, 0.03 - half)),
    ]


def hat(rng: np.random.Generator, main: Paint) -> list[Part]:
    head, half = draw(rng, 0.3, 0.38), draw(rng, 0.16, 0.4)
    brim = head * draw(rng, 1.5, 2.0)
    band = WHITE if main.color[0] + main.color[1] + main.color[2] < 0.6 else DARK
    return [
        cylinder("brim", main, brim, 0.035, (0.0, 0.0, 0.035)),
        frustum("crown", main, head, head * draw(rng, 0.8, 1.1), half, (0.0, 0.0, half)),
        cylinder("band", band, head * 1.05, 0.06, (0.0, 0.0, 0.11)),
    ]


def party_hat(rng: np.random.Generator, main: Paint) -> list[Part]:
    radius, half = draw(rng, 0.3, 0.4), draw(rng, 0.42, 0.6)
    parts = [
        cone("cone", main, radius, half, (0.0, 0.0, half)),
        ball("pompom", RIBBON if chance(rng, 0.5) else WHITE, draw(rng, 0.1, 0.14), (0.0, 0.0, 2 * half)),
    ]
    if chance(rng, 0.6):
        parts.append(torus("trim", WHITE, radius, 0.05, (0.0, 0.0, 0.03)))
    return parts


def gift_box(rng: np.random.Generator, main: Paint) -> list[Part]:
    x, y, z = draw(rng, 0.36, 0.5), draw(rng, 0.36, 0.5), draw(rng, 0.25, 0.45)
    ribbon = Paint((0.9, 0.12, 0.2)) if main.color[0] > 0.9 and main.color[1] > 0.8 else RIBBON
    width, top = draw(rng, 0.05, 0.09), 2 * z
    parts = [
        box("box", main, (x, y, z), (0.0, 0.0, z)),
        box("ribbon", ribbon, (x + 0.012, width, z + 0.012), (0.0, 0.0, z)),
        box("ribbon", ribbon, (width, y + 0.012, z + 0.012), (0.0, 0.0, z)),
    ]
    if chance(rng, 0.6):
        parts.append(box("lid", main, (x + 0.03, y + 0.03, 0.07), (0.0, 0.0, top - 0.07)))
        parts.append(box("ribbon", ribbon, (x + 0.042, width, 0.082), (0.0, 0.0, top - 0.07)))
        parts.append(box("ribbon", ribbon, (width, y + 0.042, 0.082), (0.0, 0.0, top - 0.07)))
    loop = draw(rng, 0.09, 0.13)
    for side in (1, -1):
        parts.append(torus("bow", ribbon, loop, 0.04, (0.0, side * loop, top + loop * 0.9), ALONG_X))
    parts.append(ball("knot", ribbon, 0.07, (0.0, 0.0, top + 0.05)))
    return parts


def hammer(rng: np.random.Generator, main: Paint) -> list[Part]:
    long, head = draw(rng, 0.6, 0.8), draw(rng, 0.13, 0.18)
    top = 2 * long
    return [
        cylinder("handle", main, draw(rng, 0.06, 0.085), long, (0.0, 0.0, long)),
        box("head", STEEL, (0.16, head * 0.8, head * 0.8), (0.0, 0.0, top)),
        cylinder("face", STEEL, head, draw(rng, 0.08, 0.12), (0.26, 0.0, top), ALONG_X),
        rod("peen", STEEL, (-0.12, 0.0, top), (-draw(rng, 0.4, 0.52), 0.0, top - 0.04), head * 0.8, 0.03),
    ]


def umbrella(rng: np.random.Generator, main: Paint) -> list[Part]:
    wide, half, stick = draw(rng, 0.6, 0.75), draw(rng, 0.16, 0.25), draw(rng, 0.5, 0.6)
    hook = 0.1
    return [
        frustum("canopy", main, wide, wide * 0.45, half * 0.6, (0.0, 0.0, 2 * stick - half)),
        frustum("canopy top", main, wide * 0.45, 0.03, half * 0.4, (0.0, 0.0, 2 * stick)),
        cylinder("stick", STEEL, 0.03, stick, (0.0, 0.0, stick + 0.08)),
        rod("tip", STEEL, (0.0, 0.0, 2 * stick), (0.0, 0.0, 2 * stick + half * 0.4 + 0.14), 0.03, 0.01),
        torus("grip", TIMBER, hook, 0.045, (hook, 0.0, 0.08), ALONG_Y),
    ]


def candle(rng: np.random.Generator, main: Paint) -> list[Part]:
    radius, half, plate = draw(rng, 0.14, 0.22), draw(rng, 0.3, 0.5), draw(rng, 0.3, 0.4)
    top = 2 * half + 0.06
    return [
        cylinder("plate", STEEL, plate, 0.03, (0.0, 0.0, 0.03)),
        torus("plate rim", STEEL, plate, 0.04, (0.0, 0.0, 0.05)),
        cylinder("wax", main, radius, half, (0.0, 0.0, half + 0.06)),
        cylinder("wick", DARK, 0.02, 0.05, (0.0, 0.0, top + 0.04)),
        ellipsoid("flame", Paint((1.0, 0.62, 0.1)), (0.075, 0.075, 0.15), (0.0, 0.0, top + 0.2)),
        ellipsoid("flame core", LIGHT, (0.045, 0.045, 0.13), (0.0, 0.0, top + 0.24)),
    ]


def drum(rng: np.random.Generator, main: Paint) -> list[Part]:
    radius, half = draw(rng, 0.4, 0.52), draw(rng, 0.22, 0.38)
    parts = [
        cylinder("shell", main, radius, half),
        cylinder("skin", CREAM, radius * 0.98, 0.03, (0.0, 0.0, half)),
        torus("hoop", STEEL, radius, 0.04, (0.0, 0.0, half - 0.03)),
        torus("hoop", STEEL, radius, 0.04, (0.0, 0.0, 0.03 - half)),
    ]
    for side in (1, -1):
        angle = side * draw(rng, 0.4, 0.7)
        reach, z = radius * 0.9, half + 0.08
        start = (-reach * cos(angle) * 0.4, -reach * sin(angle) * 0.7, z)
        end = (reach * cos(angle), reach * sin(angle), z)
        parts.append(rod("stick", TIMBER, start, end, 0.03))
        parts.append(ball("tip", TIMBER, 0.065, end))
    return parts


def bell(rng: np.random.Generator, main: Paint) -> list[Part]:
    mouth, half = draw(rng, 0.4, 0.5), draw(rng, 0.22, 0.32)
    waist = mouth * draw(rng, 0.5, 0.62)
    return [
        torus("lip", main, mouth - 0.03, 0.06, (0.0, 0.0, 0.03)),
        frustum("flare", main, mouth, waist * 1.12, half * 0.5, (0.0, 0.0, half * 0.5)),
        frustum("body", main, waist * 1.12, waist, half * 0.6, (0.0, 0.0, half * 1.6)),
        ellipsoid("shoulder", main, (waist, waist, waist * 0.6), (0.0, 0.0, half * 2.2)),
        ball("clapper", DARK, 0.12, (0.0, 0.0, -0.04)),
        capsule("grip", TIMBER, 0.07, draw(rng, 0.16, 0.26), (0.0, 0.0, half * 2.2 + waist * 0.6 + pi / 20)),
    ]


HOUSEHOLD = (
    Category("mug", mug, 1, ("striped", "dotted", "checkered")),
    Category("teapot", teapot, 1, ("striped", "dotted")),
    Category("bottle", bottle, 0, ("striped",)),
    Category("barrel", barrel, 0, ("wooden",)),
    Category("hat", hat, 0, ("striped", "dotted", "checkered")),
    Category("party hat", party_hat, 0, ("striped", "dotted", "checkered")),
    Category("gift box", gift_box, 2, ("striped", "dotted", "checkered")),
    Category("hammer", hammer, 1, ("wooden",)),
    Category("umbrella", umbrella, 1, ("striped", "dotted"), front=False),
    Category("candle", candle, 0, ("striped",)),
    Category("drum", drum, 1, ("striped", "checkered"), front=False),
    Category("bell", bell, 0, ("wooden",)),
)
