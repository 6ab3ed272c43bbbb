"""Surface patterns of the toybox: the colour of a part at a point of its own frame, as numba code.

All patterns have a fixed period in world units, so that the same material looks the same on any part.
"""

from __future__ import annotations

import math

import numba as nb

PLAIN, WOODEN, STRIPED, DOTTED, CHECKERED = range(5)  # positions in `parts.MATERIALS`
STRIPE, DOT, CHECK = 0.26, 0.30, 0.28  # periods, world units


@nb.njit(cache=True, error_model="numpy", inline="always")
def _plane(x, y, z, nx, ny, nz):  # the two coordinates across the axis that the surface faces most
    ax, ay, az = abs(nx), abs(ny), abs(nz)
    if az >= ax and az >= ay:
        return x, y
    if ax >= ay:
        return y, z
    return x, z


@nb.njit(cache=True, error_model="numpy")
def pattern(material, x, y, z, nx, ny, nz):
    """How a material changes its part's colour at a point.

    Args:
        material: position in `parts.MATERIALS`.
        x, y, z, nx, ny, nz: point and unit normal in the part's frame, world units.
    Returns:
        (shade, second): factor on the main colour, and 0/1 whether the second colour shows instead.
    """
    if material == WOODEN:
        rings = math.sin(22.0 * (x + 0.6 * y + 0.12 * math.sin(5.0 * z)) + 6.0 * y)
        return 0.86 + 0.14 * rings, 0.0
    if material == STRIPED:
        return 1.0, 1.0 if (z / STRIPE - math.floor(z / STRIPE)) < 0.45 else 0.0
    if material == DOTTED:
        u, v = _plane(x, y, z, nx, ny, nz)
        u = u / DOT - math.floor(u / DOT) - 0.5
        v = v / DOT - math.floor(v / DOT) - 0.5
        return 1.0, 1.0 if u * u + v * v < 0.09 else 0.0
    if material == CHECKERED:
        u, v = _plane(x, y, z, nx, ny, nz)
        return 1.0, float((int(math.floor(u / CHECK)) + int(math.floor(v / CHECK))) & 1)
    return 1.0, 0.0


@nb.njit(cache=True, error_model="numpy", inline="always")
def second_color(r, g, b):
    """The pattern's other colour: white, or dark grey on a main colour that is nearly white."""
    if 0.3 * r + 0.6 * g + 0.1 * b > 0.8:
        return 0.25, 0.25, 0.28
    return 0.96, 0.96, 0.96
