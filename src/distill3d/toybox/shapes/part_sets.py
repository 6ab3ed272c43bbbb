"""Shapes read as parts, each beside its like with one attribute changed: what SALAD learns from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from distill3d.parts.gaussians import PartGaussians
from distill3d.parts.naming import PartNamer
from distill3d.parts.network import PartNetwork
from distill3d.parts.parts import Parts
from distill3d.toybox.shapes.attributes import AttributedShape, sample_pair
from distill3d.toybox.shapes.part_words import ABOUT
from distill3d.toybox.shapes.samples import batch_of

Progress = Callable[[int, int], None]  # how many shapes of how many are read


@dataclass(frozen=True)
class PartSets:
    """K shapes of P parts, and K more that differ from them in one attribute each.

    Args:
        extrinsics, twin_extrinsics: [K, P, 16], `PartGaussians.vectors`.
        intrinsics, twin_intrinsics: [K, P, d].
        about, twin_about: [K, P] bool, the parts that the attribute is about, as the namer finds them.
    """

    extrinsics: Tensor
    intrinsics: Tensor
    about: Tensor
    twin_extrinsics: Tensor
    twin_intrinsics: Tensor
    twin_about: Tensor

    def __len__(self) -> int:
        return len(self.extrinsics)

    def save(self, path: Path) -> None:
        """As safetensors."""
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in vars(self).items()}, path)

    @classmethod
    def load(cls, path: Path) -> PartSets:
        """What `save` wrote."""
        return cls(**load_file(path))


def pair_of(seed: int, index: int) -> tuple[AttributedShape, AttributedShape, str]:
    """Shape `index` of the set `seed`, its like, and the attribute in which they differ."""
    return sample_pair((seed, index, 5), np.random.default_rng((seed, index, 6)))


@torch.no_grad()
def read_sets(
    network: PartNetwork, namer: PartNamer, seed: int, count: int, progress: Progress | None = None
) -> PartSets:
    """The first `count` pairs of the set `seed`."""
    columns: list[tuple[Tensor, ...]] = []
    for first in range(0, count, 64):
        pairs = [pair_of(seed, i) for i in range(first, min(first + 64, count))]
        columns.append((*_read(network, namer, pairs, 0), *_read(network, namer, pairs, 1)))
        if progress is not None:
            progress(first + len(pairs), count)
    return PartSets(*(torch.cat(column) for column in zip(*columns, strict=True)))


def _read(
    network: PartNetwork, namer: PartNamer, pairs: list[tuple[AttributedShape, AttributedShape, str]], side: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Extrinsics, intrinsics, and which parts the attribute is about, of one side of the pairs."""
    shapes = [(pair[0], pair[1])[side] for pair in pairs]
    batch = batch_of(shapes, np.random.default_rng(0), points=4, inside=2)
    intrinsics, gaussians = network.parts_of(batch.coarse)
    called = namer(Parts(gaussians, intrinsics)).argmax(-1)
    about = torch.zeros_like(called, dtype=torch.bool)
    for i, (shape, _, attribute) in enumerate(pairs):
        words = [namer.names.index(word) for word in ABOUT[shape.kind][attribute] if word in namer.names]
        about[i] = torch.isin(called[i], torch.tensor(words))
    return gaussians.vectors(), intrinsics, about


def is_empty(extrinsics: Tensor, below: float) -> Tensor:
    """Which parts [..., P] have less than that weight in the mixture."""
    return PartGaussians.from_vectors(extrinsics).logits.softmax(-1) < below
