"""Fresh toys of every category as the yardstick of shapes: made from fixed seeds, kept as coarse occupancies."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from distill3d.files.atomic import write_bytes
from distill3d.toybox.alignment import COARSE, FINE, Shape, frame
from distill3d.toybox.asset_shape import POINTS, REACH
from distill3d.toybox.captions import Description, Item
from distill3d.toybox.categories import CATEGORIES
from distill3d.toybox.categories.primitives import PRIMITIVES
from distill3d.toybox.geometry import mesh, surface_samples
from distill3d.toybox.parts import Toy
from distill3d.toybox.voxelize import solid_cells
from distill3d.toybox.world import make_toy

SEED = 9_000_000  # of the references: neither the prior nor its judge has met them
SAMPLES = 10  # of each category
SOLIDS = 4  # times as many of single solids, which vary in nothing but their proportions
DETAIL = 24  # segments around round parts


@dataclass(frozen=True)
class References:
    """`toys` and `categories` [N]; `occupancies` [N, COARSE ** 3] uint8, 255 where a cell is full."""

    toys: tuple[Toy, ...]
    categories: np.ndarray
    occupancies: np.ndarray = field(repr=False)

    def of(self, category: str) -> np.ndarray:
        """Positions of the samples of a category."""
        return np.flatnonzero(self.categories == category)


def reference_toy(category: str, sample: int, color: str = "gray", material: str = "plain") -> Toy:
    """The `sample`-th reference of a category; its proportions are the same in every colour."""
    return make_toy(Description(Item(category, color, material)), SEED + sample)


def build_references(samples: int = SAMPLES, cache: Path | None = None) -> References:
    """References of every category.

    Args:
        cache: an .npz to keep the occupancies in; it is made anew where the toys have changed since.
    """
    counts = {name: samples * (SOLIDS if kind in PRIMITIVES else 1) for name, kind in CATEGORIES.items()}
    toys = tuple(reference_toy(name, i) for name, count in counts.items() for i in range(count))
    categories = np.array([toy.category for toy in toys])
    digest = _digest(toys)
    kept = _load(cache, digest) if cache is not None else None
    if kept is None:
        kept = np.stack([_coarse(toy_solid(toy)[0]) for toy in toys])
        if cache is not None:
            _save(cache, digest, kept)
    return References(toys, categories, kept)


def toy_solid(toy: Toy) -> tuple[np.ndarray, np.ndarray, float]:
    """Which fine cells a toy fills in its own frame, and that frame: centre and world units a unit."""
    shown = mesh(toy, DETAIL)
    corners = shown.vertices[shown.faces].astype(np.float64)
    center, radius = frame(corners.reshape(-1, 3))
    return solid_cells((corners - center) * (REACH / radius), FINE), center, radius / REACH


@lru_cache(maxsize=256)
def toy_shape(category: str, sample: int, color: str = "gray", material: str = "plain") -> Shape:
    """The `sample`-th reference of a category in its own frame; points and colours are exact."""
    toy = reference_toy(category, sample, color, material)
    solid, center, scale = toy_solid(toy)
    points, _, colors, _ = surface_samples(toy, POINTS, np.random.default_rng(SEED + sample))
    return Shape((points - center) / scale, colors, solid)


def _coarse(solid: np.ndarray) -> np.ndarray:
    size = FINE // COARSE
    full = solid.astype(np.uint8)
    # an axis at a time: a mean over three at once takes twenty times as long
    full = np.add.reduce([full[i::size] for i in range(size)], dtype=np.uint8)
    full = np.add.reduce([full[:, i::size] for i in range(size)], dtype=np.uint8)
    full = np.add.reduce([full[:, :, i::size] for i in range(size)], dtype=np.uint8)
    return np.round(255 / size**3 * full).astype(np.uint8).reshape(-1)


def _digest(toys: tuple[Toy, ...]) -> str:
    parts = [(p.shape, p.size, p.center, p.rotation.tolist()) for toy in toys for p in toy.parts]
    return hashlib.sha256(repr((FINE, COARSE, DETAIL, REACH, parts)).encode()).hexdigest()


def _load(cache: Path, digest: str) -> np.ndarray | None:
    try:
        with np.load(cache, allow_pickle=False) as held:
            return held["occupancies"] if str(held["digest"]) == digest else None
    except (OSError, ValueError, KeyError):
        return None


def _save(cache: Path, digest: str, occupancies: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, digest=np.array(digest), occupancies=occupancies)
    cache.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(cache, buffer.getvalue())
