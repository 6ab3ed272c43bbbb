"""Instructions of the toybox: a toy, one change to it, and several ways to ask for the change.

Everything else stays: proportions, places and the colours of what was not named. Only the change of kind ("turn it
into a cone") makes another shape, and that keeps colour and, where the new kind comes in it, material.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from distill3d.core.errors import UserError
from distill3d.toybox.captions import VOCABULARY, Description, Item, article, noun_phrase
from distill3d.toybox.categories import CATEGORIES
from distill3d.toybox.heldout import held_out
from distill3d.toybox.palette import COLORS, PALETTE
from distill3d.toybox.parts import MATERIALS, Part, Toy
from distill3d.toybox.world import make_toy

KINDS = ("color", "material", "part", "category", "nothing")
SHARES = (0.46, 0.22, 0.10, 0.18, 0.04)  # how often each is tried; one that does not fit becomes a colour
PARTS = frozenset(  # names of parts that an instruction may paint: large ones, called as a person would call them
    """armrest, back, leg, seat, cushion, base, top, blanket, frame, pillow, shade, stem, foot, body, handle, lid,
    spout, cap, label, neck, hoop, band, brim, crown, cone, pompom, trim, bow, ribbon, head, canopy, stick, wax,
    plate, shell, skin, spot, trunk, clump, leaf, pot, arm, petal, belly, bottom, hat, scarf, nose, antenna, beak,
    tail, wing, flipper, muzzle, ear, plinth, collar, roof, walls, door, chimney, wall, tower, gate, keep,
    lantern, rock, sail, wheel, cabin, cab, cargo, hull, deck, mainsail, funnel, boiler, fin, engine, fuselage,
    propeller, cherry, scoop, icing, cheese, lettuce, patty, tomato, wrapper, dough, candy""".replace(
        "\n    ", " "
    ).split(", ")
)
_COLOR = ("make it {c}", "make the {n} {c}", "turn it {c}", "paint it {c}", "change its color to {c}",
          "make it a {c} {n}", "color the {n} {c}", "it should be {c}", "turn the {n} {c}")  # fmt: skip
_MATERIAL = {
    "wooden": ("make it wooden", "make the {n} wooden", "make it out of wood", "turn it into wood",
               "make it of wood", "make it a wooden {n}"),
    "striped": ("make it striped", "make the {n} striped", "give it stripes", "add stripes", "paint stripes on it"),
    "dotted": ("make it dotted", "make the {n} dotted", "give it dots", "add dots", "paint dots on it",
               "make it spotted"),
    "checkered": ("make it checkered", "make the {n} checkered", "give it checks", "add checks", "paint checks on it"),
    "plain": ("make it plain", "make the {n} plain", "remove the pattern"),
}  # fmt: skip
_PART = ("make the {p} {c}", "paint the {p} {c}", "turn the {p} {c}", "change the color of the {p} to {c}")
_CATEGORY = ("turn it into {a} {n}", "make it {a} {n}", "replace it with {a} {n}", "change it to {a} {n}")
_NOTHING = ("change nothing", "leave it as it is", "keep it as it is", "do nothing")


@dataclass(frozen=True)
class Instruction:
    """A change of one toy. `wordings`: the plainest first. `kind`: one of KINDS."""

    kind: str
    wordings: tuple[str, ...]
    before: Toy
    after: Toy


def words() -> tuple[str, ...]:
    """Every word of an instruction that captions have not, in a fixed order."""
    said = [*_COLOR, *_PART, *_CATEGORY, *_NOTHING, *PARTS, *(w for group in _MATERIAL.values() for w in group)]
    heard = {word for text in said for word in text.split() if "{" not in word}
    return tuple(sorted(heard - set(VOCABULARY)))


def recolored(toy: Toy, color: str) -> Instruction:
    """`toy` (of a pair: its first object) in another named colour."""
    item, other = _items(toy)
    after = make_toy(Description(replace(item, color=color), toy.relation, other), toy.seed)
    said = _COLOR if other is None else tuple(w for w in _COLOR if "the {n}" in w)  # "it" would be the pair
    return Instruction("color", tuple(_filled(w, toy, color) for w in said), toy, after)


def remade(toy: Toy, material: str) -> Instruction:
    """`toy` in another material. Wood that was not asked for in a colour is brown, as in captions.

    Raises:
        UserError: the kind does not come in it, or would have another shape in it.
    """
    item, other = _items(toy)
    if other is not None or material not in ("plain", *CATEGORIES[toy.category].materials):
        raise UserError(f"a {toy.category} does not come {material}")
    color = "brown" if material == "wooden" else item.color
    after = make_toy(Description(Item(item.category, color, material)), toy.seed)
    if _shape(after) != _shape(toy):
        raise UserError(f"a {material} {toy.category} has another shape than a {toy.material} one")
    return Instruction("material", tuple(_filled(w, toy) for w in _MATERIAL[material]), toy, after)


def repainted(toy: Toy, part: str, color: str) -> Instruction:
    """`toy` with all of its parts of one name in another colour.

    Raises:
        UserError: it has no such part.
    """
    if part not in {_called(p) for p in toy.parts}:
        raise UserError(f"a {toy.category} has no {part}")
    painted = tuple(replace(p, color=PALETTE[color]) if _called(p) == part else p for p in toy.parts)
    said = tuple(w.format(p=part, c=color) for w in _PART)
    return Instruction("part", said, toy, replace(toy, parts=painted))


def turned_into(toy: Toy, category: str) -> Instruction:
    """Another kind of toy in the colour of `toy`, and in its material where that kind comes in it."""
    material = toy.material if toy.material in CATEGORIES[category].materials else "plain"
    after = make_toy(Description(Item(category, toy.color, material)), toy.seed)
    said = tuple(w.format(a=article(category), n=category) for w in _CATEGORY)
    return Instruction("category", said, toy, after)


def left_alone(toy: Toy) -> Instruction:
    return Instruction("nothing", _NOTHING, toy, toy)


def sample_instruction(rng: np.random.Generator, toy: Toy, split: str = "train") -> Instruction:
    """A random change of `toy` that shows no held-out pair of colour and kind in split "train"."""
    kind = KINDS[int(np.searchsorted(np.cumsum(SHARES), rng.random()))]
    alone, free = toy.relation is None, split != "train"
    colors = [c for c in COLORS if free or (c, toy.category) not in held_out()]
    if kind == "nothing":
        return left_alone(toy)
    if kind == "material" and alone:
        options = [m for m in ("plain", *CATEGORIES[toy.category].materials) if m != toy.material]
        if options:
            try:
                return remade(toy, _pick(rng, options))
            except UserError:
                pass  # it would have another shape
    if kind == "part" and alone and toy.parts:
        options = sorted({_called(p) for p in toy.parts} & PARTS)
        if options:
            return repainted(toy, _pick(rng, options), _pick(rng, COLORS))
    if kind == "category" and alone:
        options = [n for n in CATEGORIES if n != toy.category and (free or (toy.color, n) not in held_out())]
        return turned_into(toy, _pick(rng, options))
    return recolored(toy, _pick(rng, colors))


def _items(toy: Toy) -> tuple[Item, Item | None]:
    other = Item(*toy.others[0]) if toy.others else None
    return Item(toy.category, toy.color, toy.material), other


def _filled(wording: str, toy: Toy, color: str = "") -> str:
    if "a {c} {n}" in wording:
        phrase = noun_phrase(Item(toy.category, color))
        return wording.replace("a {c} {n}", f"{article(phrase)} {phrase}")
    return wording.format(c=color, n=toy.category)


def _called(part: Part) -> str:
    return part.name.split(": ")[-1]


def _shape(toy: Toy) -> list[tuple]:
    return [(p.name, p.shape, p.size, p.center) for p in toy.parts]


def _pick(rng: np.random.Generator, options: list[str] | tuple[str, ...]) -> str:
    return options[int(rng.random() * len(options))]


assert set(_MATERIAL) == set(MATERIALS)
