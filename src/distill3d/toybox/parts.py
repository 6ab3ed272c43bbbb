"""A toy is a list of named parts; a part is one primitive with a place, a colour and a material."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

# Each primitive is centred at its own origin. `size` = (a, b, c):
#   box        half extents along x, y, z
#   ellipsoid  half axes along x, y, z
#   frustum    radius at the bottom (-c) and at the top (+c), half height c; a cylinder is (r, r, c), a cone (r, 0, c)
#   torus      radius of the ring, radius of the tube, unused; the ring lies in the xy plane
#   capsule    radius, half length of the axis (along z, without the round ends), unused
#   pyramid    half extents x, y of the base at -c, apex at (0, 0, +c)
#   wedge      a roof: half extents x, y of the base at -c, ridge along x at height +c (from -a to a)
SHAPES = ("box", "ellipsoid", "frustum", "torus", "capsule", "pyramid", "wedge")
MATERIALS = ("plain", "wooden", "striped", "dotted", "checkered")


@dataclass(frozen=True)
class Part:
    """One primitive. `rotation` has the primitive's axes as columns; `color` is RGB in 0..1."""

    name: str
    shape: str
    size: tuple[float, float, float]
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    color: tuple[float, float, float] = (0.5, 0.5, 0.5)
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))
    material: str = "plain"


@dataclass(frozen=True)
class Toy:
    """A captioned object, front towards +x, up +z, inside the unit ball."""

    parts: tuple[Part, ...]
    category: str  # "a on top of b" toys: the category of the first object
    color: str  # its named main colour
    material: str
    captions: tuple[str, ...]  # several wordings, the plainest first
    others: tuple[tuple[str, str], ...] = ()  # (category, color) of the further objects of a relation
    relation: str | None = None
    seed: int = 0
