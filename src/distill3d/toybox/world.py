"""Toys without limit: what to show is drawn, its parts are built, related, and placed in the unit ball."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from distill3d.core.errors import UserError
from distill3d.toybox.captions import RELATIONS, Description, Item, nearest_category, parse, wordings
from distill3d.toybox.categories import CATEGORIES, Paint
from distill3d.toybox.categories.primitives import PRIMITIVES
from distill3d.toybox.extent import normalized
from distill3d.toybox.heldout import held_out
from distill3d.toybox.palette import COLORS, PALETTE
from distill3d.toybox.parts import MATERIALS, Part, Toy
from distill3d.toybox.relations import beside, stacked

SPLITS = ("train", "heldout", "all")
MOST_PARTS = 16  # of a toy that `sample_toy` draws
_SOLID = 0.4  # share of the objects of a relation that are drawn from the single solids alone
_BROWN_WOOD = 0.7  # share of wooden toys that are of plain, brown wood


def sample_toy(
    rng: np.random.Generator,
    *,
    split: str = "train",
    category: str | None = None,
    color: str | None = None,
    material: str | None = None,
    relation_rate: float = 0.12,
    material_rate: float = 0.25,
) -> Toy:
    """A random toy, of the asked category, colour and material where given.

    Args:
        split: "train" shows no held-out colour and category pair, in relations either; "heldout" shows a held-out
            pair (as the first object of a relation); "all" draws from every pair.
        relation_rate: share of toys of two objects, where neither category, colour nor material is asked for.
        material_rate: share of the others that is not plain, among categories that come in materials.

    Raises:
        UserError: an unknown name, or nothing fits (such as a held-out pair with split "train").
    """
    _check(split, category, color, material)
    free = category is None and color is None and material is None
    if free and rng.random() < relation_rate:
        return _sample_relation(rng, split)
    name = category or _pick(rng, _categories(split, color, material))
    if material is None:
        admitted = CATEGORIES[name].materials
        material = _pick(rng, admitted) if admitted and rng.random() < material_rate else "plain"
    if color is None:
        if material == "wooden" and rng.random() < _BROWN_WOOD and "brown" in _colors(split, name):
            color = "brown"
        else:
            color = _pick(rng, _colors(split, name))
    elif color not in _colors(split, name):
        raise UserError(f"a {color} {name} is not in the {split} split; try one of {', '.join(_colors(split, name))}")
    return make_toy(Description(Item(name, color, material)), _seed(rng))


def make_toy(description: Description, seed: int) -> Toy:
    """The toy of a fully described scene (every colour said); its proportions come from `seed` alone."""
    item, other = description.item, description.other
    rng = np.random.default_rng(seed)
    parts = _build(item, rng)
    others: tuple[tuple[str, str], ...] = ()
    if other is not None:
        second = _build(other, rng)
        if description.relation == "on top of":
            parts = stacked(parts, second, rng, prefixes=(f"{item.category}: ", f"{other.category}: "))
        else:
            parts = beside(parts, second, rng, prefixes=(f"{item.category}: ", f"{other.category}: "))
        others = ((other.category, str(other.color)),)
    return Toy(
        tuple(normalized(parts)),
        item.category,
        str(item.color),
        item.material,
        wordings(description),
        others,
        description.relation,
        seed,
    )


def toy_from_prompt(prompt: str, rng: np.random.Generator) -> Toy:
    """A fresh toy that is what `prompt` says; a colour that it leaves open is drawn.

    Raises:
        UserError: the prompt is not in the toybox's words.
    """
    described = parse(prompt)
    if described is None:
        near = nearest_category(prompt)
        hint = f"did you mean {near!r}?" if near else f"it knows {', '.join(CATEGORIES)}"
        raise UserError(f"the toybox has no words for {prompt!r}; {hint}")
    item, other = _with_color(described.item, rng), described.other
    if other is not None:
        other = _with_color(other, rng)
        if described.relation == "on top of" and not CATEGORIES[other.category].flat_top:
            flat = [name for name, kind in CATEGORIES.items() if kind.flat_top]
            raise UserError(f"nothing stands on a {other.category} in the toybox; try one of {', '.join(flat)}")
    return make_toy(Description(item, described.relation, other), _seed(rng))


def _with_color(item: Item, rng: np.random.Generator) -> Item:
    return item if item.color else Item(item.category, _pick(rng, COLORS), item.material)


def _sample_relation(rng: np.random.Generator, split: str) -> Toy:
    for _ in range(100):
        relation = _pick(rng, RELATIONS)
        firsts, seconds = _categories(split, None, None), _flat_tops() if relation == "on top of" else tuple(CATEGORIES)
        # Solids more often than their share: they are what people stack, and they leave room for a busy partner.
        first = _pick(rng, _solids(firsts) if rng.random() < _SOLID else firsts)
        second = _pick(rng, _solids(seconds) if rng.random() < _SOLID else seconds)
        # Held-out toys show one novelty at a time: the second object is from training.
        others = "all" if split == "all" else "train"
        item = Item(first, _pick(rng, _colors(split, first)))
        other = Item(second, _pick(rng, _colors(others, second)))
        toy = make_toy(Description(item, relation, other), _seed(rng))
        if len(toy.parts) <= MOST_PARTS:
            return toy
    raise RuntimeError("no pair of objects is simple enough")


def _build(item: Item, rng: np.random.Generator) -> list[Part]:
    return CATEGORIES[item.category].build(rng, Paint(PALETTE[str(item.color)], item.material))


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.random() * len(options))]


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**62))


@cache
def _colors(split: str, category: str) -> tuple[str, ...]:
    """Colours of `category` in `split`."""
    return tuple(c for c in COLORS if split == "all" or ((c, category) in held_out()) == (split == "heldout"))


@cache
def _categories(split: str, color: str | None, material: str | None) -> tuple[str, ...]:
    """Categories of `split` that come in `color` and `material`."""
    fits = []
    for name, kind in CATEGORIES.items():
        colors = _colors(split, name)
        if (color in colors if color else colors) and (material in (None, "plain") or material in kind.materials):
            fits.append(name)
    if not fits:
        raise UserError(f"the {split} split has no category in {' and '.join(filter(None, (color, material)))}")
    return tuple(fits)


@cache
def _solids(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if any(name == kind.name for kind in PRIMITIVES))


@cache
def _flat_tops() -> tuple[str, ...]:
    return tuple(name for name, kind in CATEGORIES.items() if kind.flat_top)


def _check(split: str, category: str | None, color: str | None, material: str | None) -> None:
    for what, value, known in (
        ("split", split, SPLITS),
        ("category", category, tuple(CATEGORIES)),
        ("color", color, COLORS),
        ("material", material, MATERIALS),
    ):
        if value is not None and value not in known:
            near = nearest_category(value) if what == "category" else None
            raise UserError(
                f"unknown {what} {value!r}; " + (f"did you mean {near!r}?" if near else f"known: {', '.join(known)}")
            )
