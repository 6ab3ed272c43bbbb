"""Single solids."""

from __future__ import annotations

import numpy as np

from distill3d.toybox.categories.building import (
    Category,
    Paint,
    ball,
    box,
    capsule,
    cone,
    cylinder,
    draw,
    ellipsoid,
    pyramid,
    torus,
)
from distill3d.toybox.parts import Part


def cube(rng: np.random.Generator, main: Paint) -> list[Part]:
    return [box("cube", main, (0.5, 0.5, 0.5))]


def cuboid(rng: np.random.Generator, main: Paint) -> list[Part]:
    return [box("box", main, (draw(rng, 0.2, 0.45), draw(rng, 0.6, 0.9), draw(rng, 0.2, 0.5)))]


def sphere(rng: np.random.Generator, main: Paint) -> list[Part]:
    return [ball("sphere", main, 0.5)]


def egg(rng: np.random.Generator, main: Paint) -> list[Part]:
    width = draw(rng, 0.32, 0.38)
    return [ellipsoid("egg", main, (width, width, 0.5))]


def cone_alone(rng: np.random.Generator, main: Paint) -> list[Part]:
    return [cone("cone", main, draw(rng, 0.35, 0.6), draw(rng, 0.45, 0.65))]


def cylinder_alone(rng: np.random.Generator, main: Paint) -> list[Part]:
    return [cylinder("cylinder", main, draw(rng, 0.3, 0.55), draw(rng, 0.35, 0.6))]


def torus_alone(rng: np.random.Generator, main: Paint) -> list[Part]:
    return [torus("torus", main, 0.6, draw(rng, 0.15, 0.27))]


def pyramid_alone(rng: np.random.Generator, main: Paint) -> list[Part]:
    base = draw(rng, 0.45, 0.65)
    return [pyramid("pyramid", main, (base, base, draw(rng, 0.35, 0.55)))]


def capsule_alone(rng: np.random.Generator, main: Paint) -> list[Part]:
    return [capsule("capsule", main, draw(rng, 0.25, 0.36), draw(rng, 0.35, 0.55))]


_ALL = ("wooden", "striped", "dotted", "checkered")
PRIMITIVES = (
    Category("cube", cube, 4, _ALL, flat_top=True),
    Category("box", cuboid, 2, _ALL, flat_top=True),
    Category("sphere", sphere, 0, _ALL),
    Category("egg", egg, 0, _ALL),
    Category("cone", cone_alone, 0, _ALL),
    Category("cylinder", cylinder_alone, 0, _ALL, flat_top=True),
    Category("torus", torus_alone, 0, _ALL),
    Category("pyramid", pyramid_alone, 4, _ALL),
    Category("capsule", capsule_alone, 0, _ALL),
)
