"""A sentence as the part models hear it: the words that they know, and what to say about the others."""

from __future__ import annotations

import re
from collections.abc import Callable

from distill3d.core.errors import UserError
from distill3d.parts.words import words_of
from distill3d.toybox.shapes.attributes import KINDS
from distill3d.toybox.shapes.captions import caption, parse

LONGEST = 400  # characters
Tell = Callable[[str], object]


def heard(sentence: str, vocabulary: tuple[str, ...], tell: Tell) -> list[str]:
    """The words of a sentence that models know, in order; says which they will not hear.

    Raises:
        UserError: it is empty or far too long, or names nothing that the models were trained on.
    """
    known = _known(sentence, vocabulary, tell)
    kinds = [kind for kind in KINDS if kind in vocabulary]
    said = [kind for kind in kinds if kind in known]
    if len(said) > 1:
        raise UserError(f"{sentence!r} names {' and '.join(said)}: one kind of shape at a time")
    if not known or (kinds and not said):
        raise UserError(
            f"{sentence!r} names no shape that these part models know; they know {_known_things(vocabulary)}"
        )
    return known


def heard_of_change(sentence: str, vocabulary: tuple[str, ...], tell: Tell) -> list[str]:
    """The same for a sentence about a shape that is there, which need not name its kind: "the one with wheels".

    The models have learned from sentences that do, so where the words leave but one kind they are put as those were:
    "a chair with wheels".

    Raises:
        UserError: see `heard`.
    """
    known = _known(sentence, vocabulary, tell)
    kinds = [kind for kind in KINDS if kind in vocabulary]
    if any(kind in known for kind in kinds):
        return heard(sentence, vocabulary, lambda line: None)
    meant = [kind for kind in kinds if parse(f"a {kind} {' '.join(known)}")[1]]
    if not meant and kinds:
        raise UserError(
            f"{sentence!r} names nothing that these part models know; they know {_known_things(vocabulary)}"
        )
    return words_of(caption(*parse(f"a {meant[0]} {' '.join(known)}"))) if len(meant) == 1 else known


def _known(sentence: str, vocabulary: tuple[str, ...], tell: Tell) -> list[str]:
    if not sentence.strip():
        raise UserError("the sentence is empty")
    if len(sentence) > LONGEST:
        raise UserError(f"the sentence has {len(sentence)} characters; {LONGEST} are the most")
    known, unknown = [], []
    for word in re.findall(r"[^\W_]+(?:['’][^\W_]+)*", sentence.lower()):
        singular = word.removesuffix("s")
        if word in vocabulary or singular in vocabulary:
            known.append(word if word in vocabulary else singular)
        else:
            unknown.append(word)
    if unknown and known:
        text = ", ".join(dict.fromkeys(unknown))
        tell(f"words that the part models have never met, and will not hear: {text[:80]}{' ...' * (len(text) > 80)}")
    return known


def _phrases(kind: str) -> list[str]:
    return [phrase for values in KINDS[kind].attributes.values() for phrase in values.values()]


def _known_things(vocabulary: tuple[str, ...]) -> str:
    """Kinds and what can be said of them: "chair (no arms, ...), table (...)"; else the words."""
    kinds = [kind for kind in KINDS if kind in vocabulary]
    if not kinds:
        return ", ".join(vocabulary)
    return "; ".join(f"{kind} ({', '.join(_phrases(kind))})" for kind in kinds)
