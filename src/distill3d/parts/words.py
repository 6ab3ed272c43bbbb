"""A sentence as vectors: the words that the part models know, in order."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from distill3d.parts.network import set_transformer

LONGEST = 24  # words that are read of a sentence


def words_of(sentence: str) -> list[str]:
    """Lower-case words, punctuation dropped."""
    return re.findall(r"[a-z]+", sentence.lower())


class WordEncoder(nn.Module):
    """Sentences to a vector for each of their first 24 words; the empty sentence is one vector that is learned.

    Args:
        vocabulary: the words that are known; another word is one that says nothing.
    """

    def __init__(self, vocabulary: tuple[str, ...], width: int) -> None:
        super().__init__()
        self.rows = {word: i + 2 for i, word in enumerate(vocabulary)}
        self.words = nn.Embedding(len(vocabulary) + 2, width)  # 0 is no word, 1 a word that is not known
        self.places = nn.Parameter(0.02 * torch.randn(LONGEST, width))
        self.transformer = set_transformer(width, 1, 4)

    def forward(self, sentences: list[list[str]]) -> tuple[Tensor, Tensor]:
        """Word lists to vectors [B, L, width], and which of them count, [B, L] bool."""
        longest = max(1, *(min(len(words), LONGEST) for words in sentences)) if sentences else 1
        ids = torch.zeros(len(sentences), longest, dtype=torch.long)
        for row, words in zip(ids, sentences, strict=True):
            for i, word in enumerate(words[:LONGEST]):
                row[i] = self.rows.get(word, 1)
        counted = ids > 0
        counted[:, 0] = True  # the empty sentence is the embedding of no word
        ids, counted = ids.to(self.words.weight.device), counted.to(self.words.weight.device)
        x = self.words(ids) + self.places[:longest]
        return self.transformer(x, src_key_padding_mask=~counted), counted
