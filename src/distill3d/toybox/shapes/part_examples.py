"""What SALAD's denoisers are asked while they learn: whole shapes, shapes with parts taken out, and edits.

An edit is a shape without the parts that an attribute is about, and the parts of its like, which has another value of
that attribute, in their place: the sentence says that value. Spare parts beside them come out empty, so that a denoiser
learns to leave over what it has no use for.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from distill3d.parts.generation import EMPTY, SPARE
from distill3d.toybox.shapes.part_sets import PartSets, is_empty

COMPLETIONS, EDITS = 0.25, 0.3  # shares of the examples


class Example(NamedTuple):
    """One set of parts: extrinsics [P, 16], intrinsics [P, d], which are known [P] bool, and is it the like?"""

    extrinsics: Tensor
    intrinsics: Tensor
    known: Tensor
    twin: bool


class PartExamples:
    """Examples from `sets`, in units in which each number has mean 0 and standard deviation 1.

    Args:
        sets: normalised, but for `raw`, the extrinsics as they were read.
    """

    def __init__(self, sets: PartSets, raw: Tensor, twin_raw: Tensor) -> None:
        self.sets, self.means = sets, raw[..., :3]
        self.empty, self.twin_empty = is_empty(raw, EMPTY), is_empty(twin_raw, EMPTY)
        self.blanks = self.twin_empty.nonzero()  # [E, 2]: for shapes that have no empty part of their own

    def draw(self, rng: np.random.Generator, index: int) -> Example:
        """Of shape `index`, of a kind drawn from `rng`."""
        asked = rng.random()
        if asked < EDITS and bool(self.sets.about[index].any()):
            return self._edit(rng, index)
        if asked < EDITS + COMPLETIONS:
            return self._completion(rng, index)
        whole = torch.zeros(self.sets.about.shape[1], dtype=torch.bool)
        return Example(self.sets.extrinsics[index], self.sets.intrinsics[index], whole, False)

    def _completion(self, rng: np.random.Generator, index: int) -> Example:
        """Parts near to each other are unknown, or those that an attribute is about."""
        count = self.sets.about.shape[1]
        known = ~self.sets.about[index]
        if rng.random() < 0.7 or bool(known.all()):
            away = (self.means[index] - self.means[index, int(rng.integers(count))]).norm(dim=1)
            known = torch.ones(count, dtype=torch.bool)
            known[away.argsort()[: int(rng.integers(1, max(2, 3 * count // 4)))]] = False
        return Example(self.sets.extrinsics[index], self.sets.intrinsics[index], known, False)

    def _edit(self, rng: np.random.Generator, index: int) -> Example:
        sets = self.sets
        kept, new = ~sets.about[index], sets.twin_about[index].nonzero()[:, 0]
        spare = max(int(sets.about[index].sum()) + SPARE - len(new), 0)
        own = (self.twin_empty[index] & ~sets.twin_about[index]).nonzero()[:, 0]
        if len(own):
            shapes, parts = torch.full((spare,), index), own[torch.from_numpy(rng.integers(len(own), size=spare))]
        else:
            drawn = rng.integers(max(len(self.blanks), 1), size=spare if len(self.blanks) else 0)
            shapes, parts = self.blanks[torch.from_numpy(drawn)].T
        extrinsics, intrinsics = (
            torch.cat([one[index, kept], other[index, new], other[shapes, parts]])
            for one, other in (
                (sets.extrinsics, sets.twin_extrinsics),
                (sets.intrinsics, sets.twin_intrinsics),
            )
        )
        return Example(extrinsics, intrinsics, torch.arange(len(extrinsics)) < int(kept.sum()), True)


def stacked(examples: list[Example]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Extrinsics [B, P, 16], intrinsics [B, P, d], known [B, P] and there [B, P], filled up to the largest set."""
    most, count = max(len(e.known) for e in examples), len(examples)
    extrinsics, intrinsics = (e.new_zeros(count, most, e.shape[-1]) for e in examples[0][:2])
    known, there = (torch.zeros(count, most, dtype=torch.bool) for _ in range(2))
    for i, example in enumerate(examples):
        size = len(example.known)
        extrinsics[i, :size], intrinsics[i, :size] = example.extrinsics, example.intrinsics
        known[i, :size], there[i, :size] = example.known, True
    return extrinsics, intrinsics, known, there
