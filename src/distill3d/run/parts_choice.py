"""Which parts of a shape are meant: by their numbers, by a box around them, or by the world's words for them."""

from __future__ import annotations

import re

from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.geometry.region import Region
from distill3d.parts.naming import PartNamer
from distill3d.parts.parts import Parts

FORMS = "numbers (0,3), words (leg) or box:x0,y0,z0,x1,y1,z1"


def chosen_parts(text: str, shape: Parts, namer: PartNamer | None, option: str = "--parts") -> Tensor:
    """The parts of one shape that a text names, as a mask [P].

    Args:
        text: numbers and words with commas between them, or one region (see `geometry.region`): the parts whose
            Gaussian's mean lies in it.
        namer: None where the models have no words for parts.
        option: for error messages.
    Raises:
        UserError: it names no part, or none that the shape has.
    """
    if ":" in text:
        region = Region.parse(text.strip())
        inside = region.contains(shape.gaussians.means)
        if not inside.any():
            raise UserError(f"{option} {text}: the middle of no part lies in it")
        return inside
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise UserError(f"{option}: no part is chosen; give {FORMS}")
    numbers: list[int] = []
    for word in words:
        if re.fullmatch(r"-?\d{1,9}", word):
            numbers.append(int(word))
        elif namer is None:
            raise UserError(f"{option} {word!r}: these part models know no words for parts; give numbers or a box")
        else:
            numbers += namer.called(shape, word)
    return shape.check(numbers)


def part_names(shape: Parts, namer: PartNamer | None) -> list[str]:
    """A name for each part of one shape, no two alike: "seat 3"; "part 3" where the models have no words."""
    words = ["part"] * len(shape) if namer is None else namer.names_of(shape)
    return [f"{word} {number}" for number, word in enumerate(words)]
