"""What a category's builder is made of: paint, one constructor a primitive, rotations and draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, sin, sqrt
from typing import NamedTuple

import numpy as np

from distill3d.toybox.parts import Part

Vector = tuple[float, float, float]
ORIGIN: Vector = (0.0, 0.0, 0.0)


class Paint(NamedTuple):
    """Colour and material of a part."""

    color: Vector
    material: str = "plain"


WHITE = Paint((0.95, 0.95, 0.95))
CREAM = Paint((0.94, 0.88, 0.74))
BLACK = Paint((0.08, 0.08, 0.08))
DARK = Paint((0.20, 0.20, 0.22))
STEEL = Paint((0.66, 0.68, 0.72))
GLASS = Paint((0.62, 0.84, 0.96))
TRUNK = Paint((0.42, 0.25, 0.12))
TIMBER = Paint((0.66, 0.45, 0.24))
DOUGH = Paint((0.85, 0.63, 0.35))
LEAF = Paint((0.20, 0.58, 0.18))
TERRACOTTA = Paint((0.76, 0.40, 0.25))
BEAK = Paint((1.0, 0.55, 0.08))
SIGNAL = Paint((0.88, 0.10, 0.10))
LIGHT = Paint((1.0, 0.95, 0.60))


@dataclass(frozen=True)
class Category:
    """A kind of object.

    Args:
        build: from a generator and the main paint to parts, front towards +x, up +z, at any scale.
        symmetry: 0 for a solid of revolution about z, n for n-fold symmetry about z, 1 for none.
        materials: the materials it is seen in besides plain.
        flat_top: whether something can stand on it.
        front: False where nothing large tells front from back though no symmetry is exact (a tree's bumps, a leaf).
    """

    name: str
    build: Callable[[np.random.Generator, Paint], list[Part]]
    symmetry: int
    materials: tuple[str, ...] = ()
    flat_top: bool = False
    front: bool = True

    @property
    def asymmetric(self) -> bool:
        """Whether front and back differ at a glance: half a turn about z changes the shape."""
        return self.symmetry == 1 and self.front


def draw(rng: np.random.Generator, low: float, high: float) -> float:
    """Uniform in [low, high); several times as quick as `rng.uniform`."""
    return low + (high - low) * float(rng.random())


def chance(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


def about_x(angle: float) -> np.ndarray:
    """Rotation about x by `angle` radians, y towards z."""
    c, s = cos(angle), sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def about_y(angle: float) -> np.ndarray:
    """Rotation about y by `angle` radians, z towards x."""
    c, s = cos(angle), sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def about_z(angle: float) -> np.ndarray:
    """Rotation about z by `angle` radians, x towards y."""
    c, s = cos(angle), sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


UPRIGHT = np.eye(3)
ALONG_X = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # the primitive's z axis points to +x
ALONG_Y = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])  # the primitive's z axis points to +y
DOWNWARD = np.diag([1.0, -1.0, -1.0])
for _shared in (UPRIGHT, ALONG_X, ALONG_Y, DOWNWARD):
    _shared.setflags(write=False)


def box(name: str, paint: Paint, size: Vector, center: Vector = ORIGIN, rotation: np.ndarray = UPRIGHT) -> Part:
    """Half extents `size`."""
    return Part(name, "box", size, center, paint.color, rotation, paint.material)


def ellipsoid(name: str, paint: Paint, size: Vector, center: Vector = ORIGIN, rotation: np.ndarray = UPRIGHT) -> Part:
    """Half axes `size`."""
    return Part(name, "ellipsoid", size, center, paint.color, rotation, paint.material)


def ball(name: str, paint: Paint, radius: float, center: Vector = ORIGIN) -> Part:
    return Part(name, "ellipsoid", (radius, radius, radius), center, paint.color, UPRIGHT, paint.material)


def frustum(
    name: str,
    paint: Paint,
    bottom: float,
    top: float,
    half: float,
    center: Vector = ORIGIN,
    rotation: np.ndarray = UPRIGHT,
) -> Part:
    """Radii at the bottom and the top, and half the height."""
    return Part(name, "frustum", (bottom, top, half), center, paint.color, rotation, paint.material)


def cylinder(
    name: str, paint: Paint, radius: float, half: float, center: Vector = ORIGIN, rotation: np.ndarray = UPRIGHT
) -> Part:
    return Part(name, "frustum", (radius, radius, half), center, paint.color, rotation, paint.material)


def cone(
    name: str, paint: Paint, radius: float, half: float, center: Vector = ORIGIN, rotation: np.ndarray = UPRIGHT
) -> Part:
    return Part(name, "frustum", (radius, 0.0, half), center, paint.color, rotation, paint.material)


def torus(
    name: str, paint: Paint, ring: float, tube: float, center: Vector = ORIGIN, rotation: np.ndarray = UPRIGHT
) -> Part:
    return Part(name, "torus", (ring, tube, 0.0), center, paint.color, rotation, paint.material)


def capsule(
    name: str, paint: Paint, radius: float, half: float, center: Vector = ORIGIN, rotation: np.ndarray = UPRIGHT
) -> Part:
    """`half` is half the axis, without the round ends."""
    return Part(name, "capsule", (radius, half, 0.0), center, paint.color, rotation, paint.material)


def pyramid(name: str, paint: Paint, size: Vector, center: Vector = ORIGIN, rotation: np.ndarray = UPRIGHT) -> Part:
    return Part(name, "pyramid", size, center, paint.color, rotation, paint.material)


def wedge(name: str, paint: Paint, size: Vector, center: Vector = ORIGIN, rotation: np.ndarray = UPRIGHT) -> Part:
    """A roof whose ridge runs along x."""
    return Part(name, "wedge", size, center, paint.color, rotation, paint.material)


def rod(name: str, paint: Paint, start: Vector, end: Vector, radius: float, tip: float | None = None) -> Part:
    """A cylinder (or a frustum that ends in radius `tip`) from `start` to `end`."""
    dx, dy, dz = end[0] - start[0], end[1] - start[1], end[2] - start[2]
    length = sqrt(dx * dx + dy * dy + dz * dz)
    x, y, z = dx / length, dy / length, dz / length
    flat = sqrt(x * x + y * y)
    if flat < 1e-9:
        rotation = UPRIGHT if z > 0 else DOWNWARD
    else:
        # First axis horizontal, second completes the right-handed frame.
        rotation = np.array([[-y / flat, -z * x / flat, x], [x / flat, -z * y / flat, y], [0.0, flat, z]])
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, (start[2] + end[2]) / 2)
    size = (radius, radius if tip is None else tip, length / 2)
    return Part(name, "frustum", size, middle, paint.color, rotation, paint.material)
