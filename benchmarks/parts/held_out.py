"""Shapes that no training of part Gaussians has seen, and a shape of parts as cells, for the scripts beside."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from distill3d.parts.network import PartNetwork
from distill3d.parts.parts import Parts
from distill3d.parts.surface import CHUNK
from distill3d.toybox.shapes.attributes import AttributedShape, sample_shape
from distill3d.toybox.shapes.solid_grid import filled_cells

SEED = 9_300_000  # of a stream that is used here alone
FINE = 64


def held_out(count: int, kind: str | None = None, first: int = 0) -> list[AttributedShape]:
    """Shapes `first` to `first + count` of the held-out stream."""
    return [sample_shape(np.random.default_rng((SEED, i)), kind) for i in range(first, first + count)]


def cells(shape: AttributedShape) -> Tensor:
    """[64, 64, 64] float32, 1 where filled."""
    return torch.from_numpy((filled_cells(shape.parts, FINE) >= 0).astype(np.float32))


def cell_centres() -> Tensor:
    """[64^3, 3], x first."""
    side = (torch.arange(FINE) + 0.5) * (2 / FINE) - 1
    return torch.stack(torch.meshgrid(side, side, side, indexing="ij"), -1).reshape(-1, 3)


@torch.no_grad()
def solid(network: PartNetwork, shape: Parts) -> Tensor:
    """Which cell centres are inside, [64, 64, 64] bool."""
    embeddings = network.mixing(shape.intrinsics[None], shape.gaussians[None])
    pieces = [network.occupancy(embeddings, shape.gaussians[None], p[None])[0] for p in cell_centres().split(CHUNK)]
    return (torch.cat(pieces) > 0).reshape(FINE, FINE, FINE)


def overlap(first: Tensor, second: Tensor) -> float:
    """Volumetric IoU of two grids, bool."""
    return float((first & second).sum() / (first | second).sum().clamp(min=1))
