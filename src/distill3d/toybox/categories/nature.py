"""Plants."""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np

from distill3d.toybox.categories.building import (
    CREAM,
    LEAF,
    TERRACOTTA,
    TRUNK,
    WHITE,
    Category,
    Paint,
    about_x,
    about_z,
    ball,
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


def mushroom(rng: np.random.Generator, main: Paint) -> list[Part]:
    stem, half = draw(rng, 0.13, 0.2), draw(rng, 0.26, 0.42)
    wide, tall = draw(rng, 0.42, 0.56), draw(rng, 0.22, 0.36)
    rim = 2 * half
    parts = [
        frustum("stem", CREAM, stem * draw(rng, 1.1, 1.4), stem, half, (0.0, 0.0, half)),
        ellipsoid("cap", main, (wide, wide, tall), (0.0, 0.0, rim + tall * 0.35)),
    ]
    if chance(rng, 0.7):
        parts.append(cylinder("gills", CREAM, wide * 0.72, 0.04, (0.0, 0.0, rim - tall * 0.35)))
    if main.material == "plain" and chance(rng, 0.4):
        spots, turn = int(rng.integers(4, 7)), draw(rng, 0.0, 2 * pi)
        for i in range(spots):
            angle, up = turn + 2 * pi * i / spots, draw(rng, 0.45, 0.7)
            flat = (1 - up * up) ** 0.5 * wide
            center = (flat * cos(angle), flat * sin(angle), rim + tall * (0.35 + up))
            parts.append(ball("spot", WHITE, draw(rng, 0.05, 0.08), center))
        parts.append(ellipsoid("spot", WHITE, (0.1, 0.1, 0.05), (0.0, 0.0, rim + tall * 1.32)))
    return parts


def tree(rng: np.random.Generator, main: Paint) -> list[Part]:
    half, thick = draw(rng, 0.28, 0.42), draw(rng, 0.07, 0.12)
    crown = draw(rng, 0.32, 0.42)
    top = 2 * half + crown * 0.55
    parts = [
        frustum("trunk", TRUNK, thick * 1.3, thick, half + 0.05, (0.0, 0.0, half)),
        ellipsoid("crown", main, (crown, crown, crown * draw(rng, 0.9, 1.3)), (0.0, 0.0, top)),
    ]
    clumps = int(rng.integers(0, 6))
    turn = draw(rng, 0.0, 2 * pi)
    for i in range(clumps):
        angle = turn + 2 * pi * i / clumps
        center = (crown * 0.6 * cos(angle), crown * 0.6 * sin(angle), top + draw(rng, -0.15, 0.12))
        parts.append(ball("clump", main, crown * draw(rng, 0.5, 0.7), center))
    return parts


def pine_tree(rng: np.random.Generator, main: Paint) -> list[Part]:
    tiers, base, half = int(rng.integers(2, 5)), draw(rng, 0.38, 0.5), draw(rng, 0.26, 0.36)
    parts = [cylinder("trunk", TRUNK, draw(rng, 0.07, 0.11), 0.15, (0.0, 0.0, 0.15))]
    z = 0.25
    for i in range(tiers):
        shrink = 1 - 0.22 * i
        parts.append(cone("tier", main, base * shrink, half * shrink, (0.0, 0.0, z + half * shrink)))
        z += half * shrink * 0.95
    return parts


def palm_tree(rng: np.random.Generator, main: Paint) -> list[Part]:
    half, thick, leaves = draw(rng, 0.5, 0.65), draw(rng, 0.06, 0.09), int(rng.integers(5, 8))
    top, turn = 2 * half, draw(rng, 0.0, 2 * pi)
    reach, droop = draw(rng, 0.36, 0.46), draw(rng, 0.25, 0.5)
    parts = [frustum("trunk", TRUNK, thick * 1.5, thick, half, (0.0, 0.0, half)), ball("heart", main, 0.1, (0, 0, top))]
    for i in range(leaves):
        angle = turn + 2 * pi * i / leaves
        rotation = about_z(angle) @ about_x(-droop)
        out, down = reach * cos(droop), reach * sin(droop)
        center = (-out * sin(angle), out * cos(angle), top + 0.06 - down)
        parts.append(ellipsoid("leaf", main, (0.12, reach, 0.04), center, rotation))
    for i in range(3):
        angle = turn + 2 * pi * i / 3
        parts.append(ball("coconut", TRUNK, 0.07, (0.11 * cos(angle), 0.11 * sin(angle), top - 0.08)))
    return parts


def cactus(rng: np.random.Generator, main: Paint) -> list[Part]:
    pot, half, thick = draw(rng, 0.26, 0.34), draw(rng, 0.28, 0.42), draw(rng, 0.14, 0.19)
    parts = [
        frustum("pot", TERRACOTTA, pot * 0.72, pot, 0.17, (0.0, 0.0, 0.17)),
        cylinder("pot rim", TERRACOTTA, pot * 1.12, 0.05, (0.0, 0.0, 0.33)),
        capsule("stem", main, thick, half, (0.0, 0.0, 0.35 + half)),
    ]
    sides = (1, -1) if chance(rng, 0.7) else ((1,) if chance(rng, 0.5) else (-1,))
    for side in sides:
        arm, z = thick * draw(rng, 0.5, 0.65), 0.4 + half * draw(rng, 0.6, 1.1)
        y, up = side * (thick + draw(rng, 0.1, 0.18)), draw(rng, 0.1, 0.22)
        parts.append(rod("arm", main, (0.0, 0.0, z), (0.0, y, z), arm))
        parts.append(capsule("arm", main, arm, up, (0.0, y, z + up)))
    if chance(rng, 0.4):
        parts.append(ball("blossom", Paint((1.0, 0.45, 0.65)), 0.08, (0.0, 0.0, 0.35 + 2 * half + thick)))
    return parts


def flower(rng: np.random.Generator, main: Paint) -> list[Part]:
    petals, reach, half = int(rng.integers(5, 9)), draw(rng, 0.2, 0.26), draw(rng, 0.42, 0.58)
    top, turn = 2 * half, draw(rng, 0.0, 2 * pi)
    heart = draw(rng, 0.11, 0.15)
    # The blossom looks to +x.
    eye = Paint((1.0, 0.82, 0.15)) if main.color[1] < 0.8 or main.color[2] > 0.5 else Paint((0.4, 0.22, 0.1))
    parts = [
        cylinder("stem", LEAF, 0.035, half, (0.0, 0.0, half)),
        ellipsoid("heart", eye, (0.09, heart, heart), (0.06, 0.0, top)),
    ]
    width = min(0.13, 0.9 * pi * (heart + reach) / petals * 0.75)
    for i in range(petals):
        angle = turn + 2 * pi * i / petals
        out = heart * 0.8 + reach * 0.8
        center = (0.0, -out * sin(angle), top + out * cos(angle))
        parts.append(ellipsoid("petal", main, (0.045, width, reach), center, about_x(angle)))
    for side in (1, -1):
        z = half * draw(rng, 0.4, 1.0)
        center = (0.02, side * 0.16, z + 0.08)
        parts.append(ellipsoid("leaf", LEAF, (0.07, 0.18, 0.03), center, about_x(side * 0.55)))
    return parts


def potted_plant(rng: np.random.Generator, main: Paint) -> list[Part]:
    pot, half = draw(rng, 0.26, 0.34), draw(rng, 0.18, 0.26)
    leaves, tall, turn = int(rng.integers(5, 9)), draw(rng, 0.3, 0.42), draw(rng, 0.0, 2 * pi)
    parts = [
        frustum("pot", main, pot * draw(rng, 0.65, 0.8), pot, half, (0.0, 0.0, half)),
        torus("pot rim", main, pot, 0.05, (0.0, 0.0, 2 * half)),
        cylinder("soil", TRUNK, pot * 0.95, 0.02, (0.0, 0.0, 2 * half + 0.01)),
    ]
    lean = draw(rng, 0.4, 0.75)
    for i in range(leaves):
        angle = turn + 2 * pi * i / leaves
        out, up = tall * sin(lean), tall * cos(lean)
        center = (out * cos(angle), out * sin(angle), 2 * half + up)
        rotation = about_z(angle - pi / 2) @ about_x(-lean)
        parts.append(ellipsoid("leaf", LEAF, (0.09, 0.035, tall), center, rotation))
    parts.append(ellipsoid("leaf", LEAF, (0.09, 0.05, tall * 1.1), (0.0, 0.0, 2 * half + tall)))
    return parts


NATURE = (
    Category("mushroom", mushroom, 0, ("wooden", "striped", "dotted")),
    Category("tree", tree, 1, front=False),
    Category("pine tree", pine_tree, 0),
    Category("palm tree", palm_tree, 1, front=False),
    Category("cactus", cactus, 1, ("striped",), front=False),
    Category("flower", flower, 1, ("striped",)),
    Category("plant", potted_plant, 1, ("striped", "dotted", "checkered"), front=False),
)
