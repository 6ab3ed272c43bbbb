"""A tokenizer of CLIP's kind whose vocabulary is the toybox's: any text can be said in its pieces, and every word that
training met is one piece.

Byte pair encoding (Sennrich et al. 2016) is learnt from the words themselves until each of them is whole, so encoding,
which joins pairs in the order in which they were learnt, makes each of them whole again.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from distill3d.toybox.captions import VOCABULARY

START, END, WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"
Pair = tuple[str, str]


def make_clip_tokenizer(tokens: int, words: tuple[str, ...] = VOCABULARY) -> CLIPTokenizer:
    """The tokenizer; texts begin with START, end with END and are padded with END to `tokens`, as CLIP's are."""
    merges = learn_merges(words)
    letters = sorted(ByteLevel.alphabet())
    pieces = [*letters, *(letter + WORD_END for letter in letters), *(a + b for a, b in merges), START, END]
    return CLIPTokenizer({piece: i for i, piece in enumerate(pieces)}, merges, model_max_length=tokens)


def learn_merges(words: tuple[str, ...]) -> list[Pair]:
    """The pairs to join, in order: always the most frequent, of equals the first in the alphabet, until all words are
    whole. Only words of letters count; CLIP takes digits one by one."""
    split = [[*word[:-1], word[-1] + WORD_END] for word in sorted(set(words)) if word.isalpha()]
    merges: list[Pair] = []
    while any(len(pieces) > 1 for pieces in split):
        counts = Counter(pair for pieces in split for pair in pairwise(pieces))
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        split = [_joined(pieces, best) for pieces in split]
    return merges


def _joined(pieces: list[str], pair: Pair) -> list[str]:
    """The pieces of a word, every occurrence of a pair made one, from left to right."""
    joined: list[str] = []
    at = 0
    while at < len(pieces):
        whole = tuple(pieces[at : at + 2]) == pair
        joined.append("".join(pair) if whole else pieces[at])
        at += 2 if whole else 1
    return joined
