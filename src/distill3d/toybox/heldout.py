"""Colour and category pairs that training never sees."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from zlib import crc32

import numpy as np

from distill3d.toybox.categories import CATEGORIES
from distill3d.toybox.palette import COLORS

SEED = 24
Pair = tuple[str, str]  # (colour, category)


def draw_pairs(seed: int = SEED) -> list[Pair]:
    """The rule behind heldout.json: one colour of every category, two of a fifth of them, about 10 % of all pairs.

    Each category draws from its own generator, so a new category leaves the others' pairs alone. Red mushrooms stay
    in training, and so does brown where a category comes in wood, for wood without a colour is brown.
    """
    pairs = []
    for name, kind in CATEGORIES.items():
        rng = np.random.default_rng([seed, crc32(name.encode())])
        kept = {"brown"} if "wooden" in kind.materials else set()
        if name == "mushroom":
            kept.add("red")
        candidates = [color for color in COLORS if color not in kept]
        count = 2 if rng.random() < 0.2 else 1
        pairs += [(candidates[i], name) for i in sorted(rng.permutation(len(candidates))[:count])]
    return sorted(pairs, key=lambda pair: (pair[1], pair[0]))


@cache
def held_out() -> frozenset[Pair]:
    """The pairs listed in heldout.json."""
    listed = json.loads(files("distill3d.toybox").joinpath("heldout.json").read_text())
    return frozenset((color, category) for color, category in listed["pairs"])
