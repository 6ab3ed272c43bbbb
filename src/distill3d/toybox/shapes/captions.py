"""Sentences about attributed shapes, written and read: "a chair with round arms, wheels and gaps in the back"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

import numpy as np

from distill3d.core.errors import UserError
from distill3d.parts.words import words_of
from distill3d.toybox.shapes.attributes import KINDS, AttributedShape, Attributes, check


def caption(kind: str, attributes: Mapping[str, str]) -> str:
    """A sentence that says the kind and these attributes, in their order."""
    check(kind, attributes)
    said = [KINDS[kind].attributes[name][value] for name, value in attributes.items()]
    if not said:
        return f"a {kind}"
    return f"a {kind} with " + (", ".join(said[:-1]) + " and " if said[1:] else "") + said[-1]


def random_caption(rng: np.random.Generator, shape: AttributedShape) -> str:
    """A sentence that says nothing, some or all of a shape's attributes, in any order."""
    names = list(shape.attributes)
    count = int(rng.integers(len(names) + 1))
    chosen = rng.permutation(len(names))[:count]
    return caption(shape.kind, {names[i]: shape.attributes[names[i]] for i in chosen})


def parse(sentence: str) -> tuple[str, Attributes]:
    """The kind and the attributes that a sentence says, found by their words.

    Raises:
        UserError: it names no kind of this world, or more than one.
    """
    text = " ".join(words_of(sentence))
    kinds = [kind for kind in KINDS if re.search(rf"\b{kind}s?\b", text)]
    if len(kinds) != 1:
        raise UserError(f"{sentence!r} names no one kind of shape: {', '.join(KINDS)}")
    said: Attributes = {}
    for name, values in KINDS[kinds[0]].attributes.items():
        short = {value: phrase.removeprefix("a ") for value, phrase in values.items()}
        found = [value for value, phrase in short.items() if re.search(rf"\b{phrase}\b", text)]
        if found:
            said[name] = max(found, key=lambda value: len(short[value]))  # "no shelf" has a shelf in it
    return kinds[0], said


@cache
def vocabulary() -> tuple[str, ...]:
    """Every word that a caption of this world can hold, sorted; position 0 of a table is for words beside these."""
    phrases = [phrase for kind in KINDS.values() for values in kind.attributes.values() for phrase in values.values()]
    return tuple(sorted({word for text in (*phrases, *KINDS, "a with and") for word in words_of(text)}))


def unknown_words(sentence: str) -> list[str]:
    """The words of a sentence that no caption of this world has."""
    return [word for word in words_of(sentence) if word not in vocabulary()]
