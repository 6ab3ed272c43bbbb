"""What a sentence could say instead of some of its words, for a prior that is asked what these words change."""

from __future__ import annotations

import re

import numpy as np

from distill3d.core.errors import UserError
from distill3d.toybox.palette import COLORS, PALETTE, lab

OTHERS = 3  # sentences


def bare(words: str) -> str:
    """Words without an article before them, in small letters: "The hat" -> "hat"."""
    return re.sub(r"^(the|a|an)\s+", "", " ".join(words.lower().split()))


def contrasts(sentence: str, words: str) -> list[str]:
    """The sentence with other words for `words`.

    Where they name a colour, or the word before them does, that colour becomes others, the most unlike ones that the
    sentence does not name: "red" and "mushroom" in "a red mushroom" make "a cyan mushroom" and so on, which a prior
    that knows colours paints otherwise just there. Other words are left out.

    Raises:
        UserError: the sentence does not say them, or says nothing else.
    """
    told, asked = sentence.lower().split(), bare(words).split()
    starts = [i for i in range(len(told) - len(asked) + 1) if _plain(told[i : i + len(asked)]) == asked]
    if not asked or not starts:
        raise UserError(
            f"the sentence {sentence!r} does not say {words!r}: a region by words is looked for by what it says"
        )
    first, last = starts[0], starts[0] + len(asked)
    colored = [i for i in range(max(0, first - 1), last) if _plain([told[i]])[0] in COLORS]
    if not colored:
        without = told[:first] + told[last:]
        if first and told[first - 1] in ("a", "an", "the"):
            del without[first - 1]
        if not without:
            raise UserError(f"the sentence {sentence!r} says {words!r} and nothing else: say what the whole is")
        return [" ".join(without)]
    place = colored[-1]
    named = _plain([told[place]])[0]
    distance = {
        name: float(np.linalg.norm(lab(np.array(PALETTE[name])) - lab(np.array(PALETTE[named])))) for name in COLORS
    }
    free = [name for name in sorted(COLORS, key=lambda name: -distance[name]) if name not in _plain(told)]
    return [" ".join([*told[:place], told[place].replace(named, name), *told[place + 1 :]]) for name in free[:OTHERS]]


def _plain(words: list[str]) -> list[str]:
    return [word.strip(".,;:!?\"'") for word in words]
