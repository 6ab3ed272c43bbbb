"""What can be said of a shape, and shapes drawn at random with what is true of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from distill3d.core.component import nearest
from distill3d.core.errors import UserError
from distill3d.toybox.categories.building import Paint
from distill3d.toybox.extent import frame, normalized, placed
from distill3d.toybox.parts import Part
from distill3d.toybox.shapes.chairs import build_chair
from distill3d.toybox.shapes.lamps import build_lamp
from distill3d.toybox.shapes.part_words import ABOUT, word_of
from distill3d.toybox.shapes.planes import build_plane
from distill3d.toybox.shapes.tables import build_table

Attributes = dict[str, str]  # name to value: {"arms": "round", "legs": "wheels", "back": "slatted"}

Random = np.random.Generator

_GREY = Paint((0.7, 0.7, 0.7))


@dataclass(frozen=True)
class Kind:
    """A kind of thing: its attributes, each value with the words that say it after "with"."""

    name: str
    attributes: Mapping[str, Mapping[str, str]]


CHAIR = Kind(
    "chair",
    {
        "arms": {"none": "no arms", "straight": "straight arms", "round": "round arms"},
        "legs": {"four": "four legs", "pedestal": "a pedestal", "wheels": "wheels"},
        "back": {
            "solid": "a solid back",
            "slatted": "a slatted back",
            "gaps": "gaps in the back",
            "rounded": "a rounded back",
        },
    },
)
TABLE = Kind(
    "table",
    {
        "top": {"rectangular": "a rectangular top", "round": "a round top"},
        "legs": {"four": "four legs", "pedestal": "a pedestal", "panels": "side panels"},
        "shelf": {"none": "no shelf", "shelf": "a shelf"},
    },
)
LAMP = Kind(
    "lamp",
    {
        "shade": {"cone": "a conical shade", "drum": "a cylindrical shade", "ball": "a round shade"},
        "base": {"disc": "a flat base", "tripod": "three feet"},
    },
)
PLANE = Kind(
    "plane",
    {
        "wings": {"straight": "straight wings", "swept": "swept wings"},
        "engines": {"none": "no engines", "two": "two engines", "four": "four engines"},
        "tail": {"low": "a low tail", "high": "a high tail"},
    },
)
KINDS: dict[str, Kind] = {kind.name: kind for kind in (CHAIR, TABLE, LAMP, PLANE)}
_BUILD = {"chair": build_chair, "table": build_table, "lamp": build_lamp, "plane": build_plane}


@dataclass(frozen=True)
class AttributedShape:
    """Solids in the unit ball, front towards +x, up +z, and what is true of them."""

    kind: str
    attributes: Attributes
    parts: tuple[Part, ...]


def sample_shape(rng: Random, kind: str | None = None, **asked: str) -> AttributedShape:
    """A shape at random, of the asked kind and with the asked attributes where given.

    Raises:
        UserError: a kind, attribute or value that this world does not have.
    """
    name, drawn, parts = _drawn(rng, kind, asked)
    return AttributedShape(name, drawn, tuple(normalized(parts)))


def sample_pair(seed: Sequence[int], attribute_of: Random) -> tuple[AttributedShape, AttributedShape, str]:
    """The shape that `sample_shape` draws from this seed, the same with one attribute changed, and which that is.

    All other parts are where they were: the second stands in the frame of the first, and may reach out of the ball.

    Args:
        attribute_of: draws the attribute, among those that parts of the shape are about, and its new value.
    """
    kind, drawn, parts = _drawn(np.random.default_rng(seed), None, {})
    known = [name for name in ABOUT[kind] if drawn[name] != "none"]
    name = known[int(attribute_of.integers(len(known)))]
    values = [value for value in KINDS[kind].attributes[name] if value != drawn[name]]
    changed = drawn | {name: values[int(attribute_of.integers(len(values)))]}
    _, _, other = _drawn(np.random.default_rng(seed), None, changed)
    words = ABOUT[kind][name]
    rest = [part for part in parts if word_of(part.name) not in words]
    whole = rest + [part for part in other if word_of(part.name) in words]
    middle, scale = frame(parts)
    first = AttributedShape(kind, drawn, tuple(normalized(parts)))
    x, y, z = (-middle * scale).tolist()
    return first, AttributedShape(kind, changed, tuple(placed(whole, scale, (x, y, z)))), name


def _drawn(rng: Random, kind: str | None, asked: Mapping[str, str]) -> tuple[str, Attributes, list[Part]]:
    """A kind, attributes and parts at any scale. What is asked for does not change what else is drawn before it."""
    names = sorted(KINDS)
    name = kind or names[int(rng.integers(len(names)))]
    check(name, asked)
    drawn = {}
    for attribute, values in KINDS[name].attributes.items():
        at_random = list(values)[int(rng.integers(len(values)))]
        drawn[attribute] = asked.get(attribute, at_random)
    return name, drawn, _BUILD[name](rng, _GREY, drawn)


def check(kind: str, asked: Mapping[str, str]) -> None:
    """Raises:
    UserError: a kind, attribute or value that this world does not have.
    """
    if kind not in KINDS:
        raise UserError(f"there are no shapes of kind {kind!r}{nearest(kind, KINDS)}")
    known = KINDS[kind].attributes
    for attribute, value in asked.items():
        if attribute not in known:
            raise UserError(f"a {kind} has no {attribute!r}{nearest(attribute, known)}")
        if value not in known[attribute]:
            raise UserError(f"the {attribute} of a {kind} cannot be {value!r}{nearest(value, known[attribute])}")
