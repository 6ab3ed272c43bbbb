"""Two objects in one toy: one on the other, or side by side."""

from __future__ import annotations

import numpy as np

from distill3d.toybox.categories.building import draw
from distill3d.toybox.extent import bounds, placed
from distill3d.toybox.parts import Part


def stacked(upper: list[Part], base: list[Part], rng: np.random.Generator, prefixes: tuple[str, str]) -> list[Part]:
    """`upper` stands on the middle of the flat top of `base`, scaled to fit there."""
    low, high = bounds(base)
    middle = (low + high) / 2
    room = float(min(high[0] - low[0], high[1] - low[1]))
    under, over = bounds(upper)
    wide = float(max(over[0] - under[0], over[1] - under[1]))
    tall = float(over[2] - under[2])
    scale = min(room * draw(rng, 0.6, 0.95) / wide, room * draw(rng, 1.0, 1.4) / tall)
    foot = (under + over) / 2 * scale
    # A hair of overlap, so that a round bottom touches in a spot and not in a point.
    z = float(high[2]) - float(under[2]) * scale - 0.01 * room
    shift = (float(middle[0]) - float(foot[0]), float(middle[1]) - float(foot[1]), z)
    return placed(upper, scale, shift, prefixes[0]) + placed(base, 1.0, (0.0, 0.0, 0.0), prefixes[1])


def beside(first: list[Part], second: list[Part], rng: np.random.Generator, prefixes: tuple[str, str]) -> list[Part]:
    """Both on the same ground, `first` on the left and `second` on the right of a viewer in front (at +x)."""
    parts: list[Part] = []
    gap = draw(rng, 0.03, 0.1)
    for side, things, prefix in ((-1, first, prefixes[0]), (1, second, prefixes[1])):
        low, high = bounds(things)
        scale = draw(rng, 0.8, 1.0) / float((high - low).max())
        low, high = low * scale, high * scale
        y = gap - float(low[1]) if side > 0 else -gap - float(high[1])
        parts += placed(things, scale, (-float(low[0] + high[0]) / 2, y, -float(low[2])), prefix)
    return parts
