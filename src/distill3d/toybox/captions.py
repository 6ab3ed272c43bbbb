"""Sentences about toys: several wordings of what one shows, and what a sentence in these words names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

from distill3d.toybox.categories import CATEGORIES
from distill3d.toybox.palette import COLORS
from distill3d.toybox.parts import MATERIALS

RELATIONS = ("on top of", "next to")
ALIASES = {
    "ball": "sphere",
    "cuboid": "box",
    "couch": "sofa",
    "cup": "mug",
    "burger": "hamburger",
    "plane": "airplane",
    "doughnut": "donut",
    "present": "gift box",
    "ship": "boat",
    "lorry": "truck",
    "steam engine": "train",
    "potted plant": "plant",
    "cactus in a pot": "cactus",
    "christmas tree": "pine tree",
}
_RELATION_WORDS = {"on top of": "on top of", "on": "on top of", "next to": "next to", "beside": "next to"}
_MATERIAL_WORDS = {
    "wooden": "wooden",
    "wood": "wooden",
    "striped": "striped",
    "stripes": "striped",
    "dotted": "dotted",
    "dots": "dotted",
    "spotted": "dotted",
    "checkered": "checkered",
    "checks": "checkered",
}
_COLOR_WORDS = {**{color: color for color in COLORS}, "grey": "gray"}
_FILLER_TEXT = """
    a an the of in is that it made with and one single small big little large toy toys model picture photo image
    render rendering drawing object 3d simple color colored painted plain view views seen from front side back
    overhead top bottom left right above below nice cute
"""
_FILLERS = frozenset(re.split(r"\s+", _FILLER_TEXT.strip()))
_NAMES = {**{name: name for name in CATEGORIES}, **ALIASES}


@dataclass(frozen=True)
class Item:
    """One object of a description; None where the sentence does not say."""

    category: str
    color: str | None = None
    material: str = "plain"


@dataclass(frozen=True)
class Description:
    """What a sentence names: an object, and perhaps its relation to a second one."""

    item: Item
    relation: str | None = None
    other: Item | None = None


def article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def noun_phrase(item: Item) -> str:
    """Such as "red mushroom", "wooden chair" (wood that is brown goes without saying) or "striped blue mug"."""
    words = [item.color or "", item.category]
    if item.material == "wooden":
        words = (
            ["wooden", item.category] if item.color in (None, "brown") else [item.color or "", "wooden", item.category]
        )
    elif item.material != "plain":
        words.insert(0, item.material)
    return " ".join(word for word in words if word)


def wordings(description: Description) -> tuple[str, ...]:
    """Captions of a toy, the plainest first."""
    item, other = description.item, description.other
    phrase = noun_phrase(item)
    plain = f"{article(phrase)} {phrase}"
    if other is not None:
        second = noun_phrase(other)
        second = f"{article(second)} {second}"
        words = ("on top of", "on") if description.relation == "on top of" else ("next to", "beside")
        return (
            f"{plain} {words[0]} {second}",
            f"{plain} {words[1]} {second}",
            f"{phrase} {words[0]} {second[second.index(' ') + 1 :]}",
            f"a picture of {plain} {words[0]} {second}",
        )
    name, color = item.category, item.color
    one = f"{article(name)} {name}"
    said = [plain, phrase, f"a picture of {plain}", f"a small {phrase}"]
    if item.material == "plain":
        said += [f"{one} that is {color}", f"a toy {name} in {color}", f"{article(color or '')} {color} toy {name}"]
    elif item.material == "wooden":
        said += [f"{one} made of wood" if color == "brown" else f"{one} made of {color} wood"]
    else:
        pattern = {"striped": "stripes", "dotted": "dots", "checkered": "checks"}[item.material]
        said += [
            f"{article(color or '')} {color} {item.material} {name}",
            f"{article(color or '')} {color} {name} with {pattern}",
        ]
    for alias, target in ALIASES.items():
        if target == name:
            renamed = noun_phrase(Item(alias, color, item.material))
            said.append(f"{article(renamed)} {renamed}")
    return tuple(said)


def parse(prompt: str) -> Description | None:
    """What `prompt` names, or None when it is not wholly in the toybox's words. Wood without a colour is brown."""
    words = _words(prompt)
    relation, first, second = None, words, None
    text = " ".join(words)
    for phrase, meaning in _RELATION_WORDS.items():
        before, found, after = f" {text} ".partition(f" {phrase} ")
        if found and before.strip() and after.strip():
            relation, first, second = meaning, before.split(), after.split()
            break
    item = _parse_item(first)
    if item is None or second is None:
        return None if item is None else Description(item)
    other = _parse_item(second)
    return None if other is None else Description(item, relation, other)


def nearest_category(prompt: str) -> str | None:
    """The category whose name is spelt most like some word of `prompt`."""
    for word in reversed(_words(prompt)):
        if word not in _FILLERS and word not in _COLOR_WORDS and word not in _MATERIAL_WORDS:
            close = get_close_matches(word, _NAMES, n=1, cutoff=0.5)
            if close:
                return _NAMES[close[0]]
    return None


def _words(prompt: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", prompt.lower())


def _parse_item(words: list[str]) -> Item | None:
    color, material, category = None, "plain", None
    i = 0
    while i < len(words):
        for length in (4, 3, 2, 1):
            name = _NAMES.get(" ".join(words[i : i + length]))
            if name is not None and i + length <= len(words):
                break
        if name is not None:
            if category is not None:
                return None
            category = name
            i += length
            continue
        word = words[i]
        if word in _COLOR_WORDS and color is None:
            color = _COLOR_WORDS[word]
        elif word in _MATERIAL_WORDS and material == "plain":
            material = _MATERIAL_WORDS[word]
        elif word not in _FILLERS:
            return None
        i += 1
    if category is None:
        return None
    if material == "wooden" and color is None:
        color = "brown"
    return Item(category, color, material)


_PHRASES = (*_NAMES, *_RELATION_WORDS, *_MATERIAL_WORDS, *_COLOR_WORDS, *_FILLERS, *MATERIALS)
VOCABULARY: tuple[str, ...] = tuple(sorted({word for phrase in _PHRASES for word in phrase.split()}))
