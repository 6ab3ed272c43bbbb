"""Things of a room; whoever uses them faces +x."""

from __future__ import annotations

import numpy as np

from distill3d.toybox.categories.building import (
    CREAM,
    DARK,
    LIGHT,
    STEEL,
    TRUNK,
    WHITE,
    Category,
    Paint,
    ball,
    box,
    chance,
    cylinder,
    draw,
    frustum,
    rod,
)
from distill3d.toybox.parts import Part


def _four_legs(main: Paint, x: float, y: float, top: float, radius: float, *, square: bool, splay: float) -> list[Part]:
    """Legs from z = 0 to `top` at (+-x, +-y); `splay` is how far the feet stand out."""
    parts = []
    for sx, sy in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        if square:
            parts.append(box("leg", main, (radius, radius, top / 2), (sx * x, sy * y, top / 2)))
        else:
            foot = (sx * (x + splay), sy * (y + splay), 0.0)
            parts.append(rod("leg", main, foot, (sx * x, sy * y, top), radius * 0.8, radius))
    return parts


def chair(rng: np.random.Generator, main: Paint) -> list[Part]:
    depth, width, height = draw(rng, 0.24, 0.30), draw(rng, 0.24, 0.31), draw(rng, 0.42, 0.55)
    leg, back = draw(rng, 0.028, 0.045), draw(rng, 0.25, 0.36)
    parts = [box("seat", main, (depth, width, 0.04), (0.0, 0.0, height))]
    x, y = depth - leg, width - leg
    square = chance(rng, 0.5)
    parts += _four_legs(main, x, y, height, leg, square=square, splay=0.0 if square else draw(rng, 0.0, 0.06))
    bottom, top = height + 0.04, height + 0.04 + 2 * back
    style = rng.random()
    if style < 0.45:
        parts.append(box("back", main, (0.035, width, back), (0.035 - depth, 0.0, bottom + back)))
    else:
        for side in (1, -1):
            parts.append(box("post", main, (leg, leg, back), (-x, side * y, bottom + back)))
        parts.append(box("back", main, (leg * 0.8, width, back * 0.28), (-x, 0.0, top - back * 0.28)))
        if style < 0.75:
            parts.append(box("slat", main, (leg * 0.7, width, back * 0.14), (-x, 0.0, bottom + back * 0.6)))
    if chance(rng, 0.25):
        for side in (1, -1):
            parts.append(box("armrest", main, (depth * 0.9, leg, leg), (-leg, side * y, bottom + 0.2)))
            parts.append(box("armrest post", main, (leg, leg, 0.1), (depth * 0.7, side * y, bottom + 0.1)))
    return parts


def _upholstered(rng: np.random.Generator, main: Paint, width: float, cushions: int) -> list[Part]:
    depth, seat, back, arm = draw(rng, 0.32, 0.40), draw(rng, 0.16, 0.2), draw(rng, 0.42, 0.58), draw(rng, 0.07, 0.12)
    parts = [
        box("base", main, (depth, width, seat), (0.0, 0.0, seat + 0.08)),
        box("back", main, (0.11, width, back), (0.11 - depth, 0.0, back + 0.08)),
    ]
    height = seat + draw(rng, 0.1, 0.15)
    for side in (1, -1):
        parts.append(box("arm", main, (depth, arm, height), (0.0, side * (width + arm), height + 0.08)))
        if chance(rng, 0.5):
            top = 2 * height + 0.08
            parts.append(
                rod("arm roll", main, (-depth, side * (width + arm), top), (depth, side * (width + arm), top), arm)
            )
    share = width / cushions
    for i in range(cushions):
        y = (2 * i + 1) * share - width
        parts.append(box("cushion", main, (depth - 0.1, share * 0.96, 0.06), (0.11, y, 2 * seat + 0.14)))
    for x in (depth * 0.8, -depth * 0.8):
        for y in (width, -width):
            parts.append(cylinder("foot", TRUNK, 0.04, 0.05, (x, y, 0.05)))
    return parts


def armchair(rng: np.random.Generator, main: Paint) -> list[Part]:
    return _upholstered(rng, main, draw(rng, 0.26, 0.34), 1)


def sofa(rng: np.random.Generator, main: Paint) -> list[Part]:
    return _upholstered(rng, main, draw(rng, 0.75, 0.95), 2 if chance(rng, 0.5) else 3)


def table(rng: np.random.Generator, main: Paint) -> list[Part]:
    depth, width, height = draw(rng, 0.36, 0.5), draw(rng, 0.55, 0.75), draw(rng, 0.5, 0.7)
    leg = draw(rng, 0.03, 0.06)
    parts = [box("top", main, (depth, width, 0.04), (0.0, 0.0, height))]
    inset = leg + draw(rng, 0.0, 0.06)
    parts += _four_legs(main, depth - inset, width - inset, height, leg, square=chance(rng, 0.6), splay=0.0)
    if chance(rng, 0.4):
        parts.append(box("apron", main, (depth - inset, width - inset, 0.05), (0.0, 0.0, height - 0.08)))
    return parts


def stool(rng: np.random.Generator, main: Paint) -> list[Part]:
    radius, height = draw(rng, 0.25, 0.34), draw(rng, 0.45, 0.8)
    leg = draw(rng, 0.025, 0.04)
    reach = radius * 0.55
    parts = [cylinder("seat", main, radius, draw(rng, 0.035, 0.06), (0.0, 0.0, height))]
    splay = draw(rng, 0.0, 0.4) * (radius - reach)
    parts += _four_legs(main, reach, reach, height, leg, square=False, splay=splay)
    if chance(rng, 0.5):
        at, z = reach + splay * 0.6, height * 0.4
        for sign in (1, -1):
            parts.append(rod("rung", main, (sign * at, -at, z), (sign * at, at, z), leg * 0.7))
            parts.append(rod("rung", main, (-at, sign * at, z), (at, sign * at, z), leg * 0.7))
    return parts


def bed(rng: np.random.Generator, main: Paint) -> list[Part]:
    length, width, height = draw(rng, 0.85, 1.0), draw(rng, 0.42, 0.62), draw(rng, 0.14, 0.2)
    head, foot = draw(rng, 0.32, 0.48), draw(rng, 0.16, 0.24)
    parts = [
        box("frame", TRUNK, (length, width, 0.07), (0.0, 0.0, height)),
        box("mattress", WHITE, (length - 0.04, width - 0.03, 0.1), (0.0, 0.0, height + 0.16)),
        box("blanket", main, (length * 0.66, width, 0.11), (length * 0.34, 0.0, height + 0.17)),
        box("headboard", TRUNK, (0.04, width, head), (-length, 0.0, head)),
        box("footboard", TRUNK, (0.04, width, foot), (length + 0.02, 0.0, foot)),
    ]
    pillows = 2 if width > 0.52 else 1
    for i in range(pillows):
        y = ((2 * i + 1) / pillows - 1) * width
        parts.append(box("pillow", CREAM, (0.13, width / pillows * 0.75, 0.05), (0.2 - length, y, height + 0.31)))
    for x in (length - 0.05, 0.05 - length):
        for y in (width - 0.06, 0.06 - width):
            parts.append(box("leg", TRUNK, (0.05, 0.05, height / 2), (x, y, height / 2)))
    return parts


def lamp(rng: np.random.Generator, main: Paint) -> list[Part]:
    base, height, shade = draw(rng, 0.2, 0.28), draw(rng, 0.6, 0.95), draw(rng, 0.28, 0.38)
    half = draw(rng, 0.16, 0.24)
    stand = DARK if chance(rng, 0.5) else STEEL
    parts = [
        cylinder("foot", stand, base, 0.03, (0.0, 0.0, 0.03)),
        cylinder("stem", stand, draw(rng, 0.025, 0.045), height / 2, (0.0, 0.0, height / 2)),
        frustum("shade", main, shade, shade * draw(rng, 0.45, 0.75), half, (0.0, 0.0, height + half - 0.05)),
        ball("bulb", LIGHT, 0.1, (0.0, 0.0, height - 0.05)),
    ]
    if chance(rng, 0.4):
        parts.append(ball("knob", stand, draw(rng, 0.08, 0.13), (0.0, 0.0, height * 0.3)))
    return parts


def bookshelf(rng: np.random.Generator, main: Paint) -> list[Part]:
    depth, width, height = draw(rng, 0.16, 0.22), draw(rng, 0.34, 0.48), draw(rng, 0.6, 0.8)
    parts = [box("back", main, (0.02, width, height), (0.02 - depth, 0.0, height))]
    for side in (1, -1):
        parts.append(box("side", main, (depth, 0.03, height), (0.0, side * width, height)))
    shelves = 4 if chance(rng, 0.5) else 3
    gap = (2 * height - 0.06) / shelves
    for i in range(shelves + 1):
        parts.append(box("shelf", main, (depth, width, 0.03), (0.0, 0.0, 0.03 + i * gap)))
    spines = (Paint((0.75, 0.2, 0.15)), Paint((0.15, 0.35, 0.7)), Paint((0.9, 0.75, 0.3)), Paint((0.25, 0.5, 0.3)))
    for i in range(shelves):
        tall, thick = gap * draw(rng, 0.28, 0.4), draw(rng, 0.1, 0.22)
        y = draw(rng, thick - width + 0.03, width - thick - 0.03)
        books = spines[int(rng.integers(4))]
        parts.append(box("books", books, (depth * 0.7, thick, tall), (0.0, y, 0.06 + i * gap + tall)))
    return parts


FURNITURE = (
    Category("chair", chair, 1, ("wooden", "checkered")),
    Category("armchair", armchair, 1, ("dotted", "checkered")),
    Category("sofa", sofa, 1, ("dotted", "checkered")),
    Category("table", table, 2, ("wooden", "checkered"), flat_top=True),
    Category("stool", stool, 4, ("wooden",), flat_top=True),
    Category("bed", bed, 1, ("dotted", "checkered")),
    Category("lamp", lamp, 0, ("striped", "dotted")),
    Category("bookshelf", bookshelf, 1, ("wooden",)),
)
