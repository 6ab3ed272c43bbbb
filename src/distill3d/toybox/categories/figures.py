"""Animals and figures; they look to +x."""

from __future__ import annotations

import numpy as np

from distill3d.toybox.categories.building import (
    ALONG_X,
    BEAK,
    BLACK,
    DARK,
    SIGNAL,
    STEEL,
    TRUNK,
    WHITE,
    Category,
    Paint,
    about_y,
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
    torus,
)
from distill3d.toybox.parts import Part

CARROT = Paint((1.0, 0.5, 0.08))


def _contrast(main: Paint) -> Paint:
    """Black, or white on a dark main colour: for eyes and buttons."""
    return WHITE if sum(main.color) < 0.6 else BLACK


def snowman(rng: np.random.Generator, main: Paint) -> list[Part]:
    low, head = draw(rng, 0.38, 0.46), draw(rng, 0.2, 0.25)
    middle = (low + head) / 2
    z1 = low * 0.9
    z2 = z1 + (low + middle) * 0.75
    z3 = z2 + (middle + head) * 0.78
    dark = _contrast(main)
    parts = [
        ball("bottom", main, low, (0.0, 0.0, z1)),
        ball("belly", main, middle, (0.0, 0.0, z2)),
        ball("head", main, head, (0.0, 0.0, z3)),
        cone("nose", CARROT, 0.075, draw(rng, 0.17, 0.24), (head + 0.1, 0.0, z3 - 0.02), ALONG_X),
    ]
    for side in (1, -1):
        parts.append(ball("eye", dark, 0.045, (head * 0.88, side * head * 0.42, z3 + head * 0.3)))
    for up in (0.45, 0.0):
        parts.append(ball("button", dark, 0.05, (middle * (1 - up * up / 2), 0.0, z2 + middle * up)))
    for side in (1, -1):
        hand = (0.12, side * (middle + draw(rng, 0.25, 0.35)), z2 + draw(rng, 0.1, 0.3))
        parts.append(rod("arm", TRUNK, (0.0, side * middle * 0.8, z2 + 0.05), hand, 0.03))
    if chance(rng, 0.6):
        parts.append(torus("scarf", SIGNAL, head * 0.85, 0.06, (0.0, 0.0, z3 - head * 0.75)))
        parts.append(
            box("scarf end", SIGNAL, (0.03, 0.06, 0.15), (middle + 0.02, 0.12, z2 + middle * 0.35), about_y(-0.2))
        )
    if chance(rng, 0.7):
        parts.append(cylinder("hat brim", DARK, head * 1.15, 0.025, (0.0, 0.0, z3 + head * 0.72)))
        parts.append(cylinder("hat", DARK, head * 0.72, 0.14, (0.0, 0.0, z3 + head * 0.72 + 0.14)))
    return parts


def robot(rng: np.random.Generator, main: Paint) -> list[Part]:
    depth, width, half = draw(rng, 0.18, 0.24), draw(rng, 0.26, 0.36), draw(rng, 0.26, 0.36)
    leg, head = draw(rng, 0.14, 0.24), draw(rng, 0.17, 0.22)
    z = 2 * leg + half
    top = z + half + 0.08 + head
    parts = [
        box("body", main, (depth, width, half), (0.0, 0.0, z)),
        cylinder("neck", STEEL, 0.08, 0.06, (0.0, 0.0, z + half + 0.05)),
        box("head", main, (head, head * 1.15, head), (0.0, 0.0, top)),
        box("panel", STEEL, (0.03, width * 0.6, half * 0.4), (depth, 0.0, z + half * 0.25)),
        box("mouth", DARK, (0.02, head * 0.6, 0.03), (head, 0.0, top - head * 0.45)),
    ]
    eye = Paint((1.0, 0.9, 0.2)) if chance(rng, 0.5) else Paint((0.85, 1.0, 1.0))
    for side in (1, -1):
        parts.append(cylinder("eye", eye, 0.065, 0.05, (head, side * head * 0.5, top + head * 0.25), ALONG_X))
        parts.append(box("leg", STEEL, (0.09, 0.09, leg), (0.0, side * width * 0.55, leg)))
        parts.append(box("foot", DARK, (0.17, 0.12, 0.06), (0.07, side * width * 0.55, 0.06)))
        shoulder = (0.0, side * (width + 0.08), z + half * 0.7)
        hand = (draw(rng, 0.05, 0.35), side * (width + 0.1), z - half * draw(rng, 0.2, 0.6))
        parts.append(rod("arm", STEEL, shoulder, hand, 0.075))
    if chance(rng, 0.6):
        parts.append(rod("antenna", SIGNAL, (0.0, 0.0, top + head), (0.0, 0.0, top + head + 0.2), 0.025))
    return parts


def duck(rng: np.random.Generator, main: Paint) -> list[Part]:
    long, wide, tall = draw(rng, 0.46, 0.56), draw(rng, 0.32, 0.4), draw(rng, 0.28, 0.34)
    head = draw(rng, 0.2, 0.26)
    x, z = long * 0.62, tall + draw(rng, 0.3, 0.4)
    dark = _contrast(main)
    parts = [
        ellipsoid("body", main, (long, wide, tall)),
        ellipsoid("neck", main, (head * 0.7, head * 0.7, 0.25), (x * 0.95, 0.0, z * 0.55)),
        ball("head", main, head, (x, 0.0, z)),
        ellipsoid("beak", BEAK, (0.17, 0.12, 0.05), (x + head + 0.06, 0.0, z - 0.03)),
        cone("tail", main, 0.16, 0.17, (-long * 0.95, 0.0, tall * 0.5), about_y(-0.75)),
    ]
    for side in (1, -1):
        parts.append(ball("eye", dark, 0.045, (x + head * 0.7, side * head * 0.62, z + head * 0.35)))
        parts.append(ellipsoid("wing", main, (long * 0.55, 0.07, tall * 0.5), (-0.08, side * wide, 0.05)))
    return parts


def fish(rng: np.random.Generator, main: Paint) -> list[Part]:
    long, thick, tall = draw(rng, 0.48, 0.6), draw(rng, 0.15, 0.22), draw(rng, 0.27, 0.36)
    tail = draw(rng, 0.24, 0.32)
    dark = _contrast(main)
    parts = [
        ellipsoid("body", main, (long, thick, tall)),
        ellipsoid("lips", BEAK, (0.06, 0.09, 0.07), (long * 0.97, 0.0, -0.02)),
        wedge_fin("dorsal fin", main, (-0.08, tall * 0.9), draw(rng, 0.22, 0.3), 0.16),
    ]
    for side in (1, -1):
        center = (-long - tail * 0.5, 0.0, side * tail * 0.55)
        parts.append(ellipsoid("tail", main, (0.12, 0.045, tail), center, about_y(-side * 0.7)))
        parts.append(ball("eye", WHITE, 0.075, (long * 0.62, side * thick * 0.72, tall * 0.25)))
        parts.append(
            ball(
                "pupil",
                dark if dark is BLACK else BLACK,
                0.045,
                (long * 0.66, side * (thick * 0.72 + 0.05), tall * 0.25),
            )
        )
        center = (0.05, side * (thick + 0.06), -tall * 0.3)
        parts.append(ellipsoid("side fin", main, (0.16, 0.03, 0.08), center, about_y(0.5)))
    return parts


def wedge_fin(name: str, paint: Paint, foot: tuple[float, float], length: float, height: float) -> Part:
    """A thin upright fin over (x, z) = `foot`."""
    return pyramid(name, paint, (length, 0.05, height), (foot[0], 0.0, foot[1] + height * 0.6))


def penguin(rng: np.random.Generator, main: Paint) -> list[Part]:
    wide, tall, head = draw(rng, 0.3, 0.38), draw(rng, 0.46, 0.56), draw(rng, 0.21, 0.26)
    top = 2 * tall + head * 0.3
    parts = [
        ellipsoid("body", main, (wide, wide, tall), (0.0, 0.0, tall)),
        ellipsoid("belly", WHITE, (wide * 0.72, wide * 0.75, tall * 0.8), (wide * 0.34, 0.0, tall * 0.92)),
        ball("head", main, head, (0.0, 0.0, top)),
        cone("beak", BEAK, 0.08, 0.13, (head + 0.08, 0.0, top - 0.03), ALONG_X),
    ]
    for side in (1, -1):
        parts.append(ball("eye", WHITE, 0.065, (head * 0.75, side * head * 0.45, top + head * 0.3)))
        parts.append(ball("pupil", BLACK, 0.035, (head * 0.75 + 0.05, side * head * 0.45, top + head * 0.3)))
        parts.append(ellipsoid("foot", BEAK, (0.17, 0.11, 0.05), (0.14, side * wide * 0.45, 0.02)))
        swing = draw(rng, 0.03, 0.15)
        shoulder, hand = (0.0, side * wide * 0.8, tall * 1.4), (0.0, side * (wide + swing), tall * 0.6)
        parts.append(rod("flipper", main, shoulder, hand, 0.075, 0.03))
    return parts


def dog(rng: np.random.Generator, main: Paint) -> list[Part]:
    long, wide, leg = draw(rng, 0.4, 0.55), draw(rng, 0.17, 0.23), draw(rng, 0.16, 0.28)
    head = draw(rng, 0.2, 0.25)
    z = 2 * leg + wide * 0.8
    x, top = long * 0.95, z + draw(rng, 0.2, 0.32)
    dark = _contrast(main)
    parts = [
        capsule("body", main, wide, long - wide, (0.0, 0.0, z), ALONG_X),
        ball("head", main, head, (x, 0.0, top)),
        capsule("muzzle", main, head * 0.5, head * 0.4, (x + head, 0.0, top - 0.06), ALONG_X),
        ball("nose", dark, 0.065, (x + head * 1.85, 0.0, top - 0.02)),
        rod("tail", main, (-long * 0.9, 0.0, z), (-long - 0.22, 0.0, z + draw(rng, 0.1, 0.3)), 0.055, 0.03),
    ]
    for side in (1, -1):
        parts.append(ball("eye", dark, 0.042, (x + head * 0.8, side * head * 0.5, top + head * 0.4)))
        center = (x - 0.03, side * head * 0.95, top + 0.0)
        parts.append(ellipsoid("ear", TRUNK if dark is BLACK else STEEL, (0.09, 0.045, 0.16), center))
        for along in (0.65, -0.65):
            parts.append(capsule("leg", main, 0.075, leg, (along * long, side * wide * 0.65, leg + 0.05)))
    return parts


def cat(rng: np.random.Generator, main: Paint) -> list[Part]:
    """A sitting cat."""
    wide, tall, head = draw(rng, 0.26, 0.33), draw(rng, 0.36, 0.46), draw(rng, 0.23, 0.28)
    x, top = 0.08, 2 * tall + head * 0.35
    dark = _contrast(main)
    back = -wide * 0.9
    parts = [
        ellipsoid("body", main, (wide, wide, tall), (0.0, 0.0, tall)),
        ellipsoid("head", main, (head, head * 1.12, head * 0.95), (x, 0.0, top)),
        ball("nose", Paint((1.0, 0.5, 0.6)), 0.045, (x + head, 0.0, top - 0.04)),
        rod("tail", main, (back, 0.0, 0.08), (back - 0.3, 0.0, 0.2), 0.07, 0.06),
        rod("tail", main, (back - 0.3, 0.0, 0.18), (back - 0.34, 0.0, draw(rng, 0.5, 0.75)), 0.065, 0.04),
    ]
    for side in (1, -1):
        parts.append(cone("ear", main, 0.1, 0.12, (x, side * head * 0.68, top + head * 0.95)))
        parts.append(ball("eye", dark, 0.05, (x + head * 0.83, side * head * 0.45, top + head * 0.22)))
        parts.append(capsule("foreleg", main, 0.08, tall * 0.4, (wide * 0.75, side * wide * 0.4, tall * 0.45)))
        parts.append(ellipsoid("paw", main, (0.13, 0.09, 0.07), (wide * 0.95, side * wide * 0.42, 0.06)))
    return parts


def caterpillar(rng: np.random.Generator, main: Paint) -> list[Part]:
    beads, size = int(rng.integers(4, 6)), draw(rng, 0.19, 0.24)
    step = size * draw(rng, 1.2, 1.5)
    dark = _contrast(main)
    x = step * beads / 2
    parts = [
        ball("segment", main, size, (x - step * (i + 1), 0.0, size * (1.15 if i % 2 else 1.0))) for i in range(beads)
    ]
    head = size * 1.25
    z = size + draw(rng, 0.12, 0.2)
    parts.append(ball("head", main, head, (x, 0.0, z)))
    for side in (1, -1):
        parts.append(ball("eye", dark, 0.06, (x + head * 0.85, side * head * 0.45, z + head * 0.3)))
        tip = (x + 0.04, side * 0.16, z + head + 0.2)
        parts.append(rod("feeler", DARK, (x, side * 0.08, z + head * 0.8), tip, 0.025))
        parts.append(ball("feeler tip", SIGNAL, 0.055, tip))
    return parts


def chess_pawn(rng: np.random.Generator, main: Paint) -> list[Part]:
    base, half, head = draw(rng, 0.32, 0.4), draw(rng, 0.3, 0.42), draw(rng, 0.2, 0.25)
    return [
        cylinder("foot", main, base, 0.06, (0.0, 0.0, 0.06)),
        ellipsoid("plinth", main, (base * 0.85, base * 0.85, 0.15), (0.0, 0.0, 0.15)),
        frustum("body", main, base * 0.62, base * 0.32, half, (0.0, 0.0, 0.15 + half)),
        cylinder("collar", main, base * 0.62, 0.035, (0.0, 0.0, 0.15 + 2 * half)),
        ball("head", main, head, (0.0, 0.0, 0.15 + 2 * half + head * 0.85)),
    ]


FIGURES = (
    Category("snowman", snowman, 1),
    Category("robot", robot, 1, ("wooden", "checkered")),
    Category("duck", duck, 1, ("wooden", "dotted")),
    Category("fish", fish, 1, ("wooden", "striped", "dotted")),
    Category("penguin", penguin, 1),
    Category("dog", dog, 1, ("wooden", "dotted")),
    Category("cat", cat, 1, ("striped",)),
    Category("caterpillar", caterpillar, 1, ("wooden", "striped", "dotted")),
    Category("pawn", chess_pawn, 0, ("wooden",)),
)
