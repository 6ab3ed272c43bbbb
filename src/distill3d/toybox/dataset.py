"""Training pictures of the toybox without end: batch `i` of seed `s` is always the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from distill3d.core.cameras import Cameras
from distill3d.diffusion.patches import PatchCodec
from distill3d.diffusion.view import view_vector
from distill3d.toybox.batch_stream import batch_stream
from distill3d.toybox.categories import CATEGORIES
from distill3d.toybox.hints import HintKind, depth_hint, edge_hint
from distill3d.toybox.parts import Toy
from distill3d.toybox.pictures import over_grey, pack, picture_and_depth
from distill3d.toybox.world import sample_toy

RELATION_RATE = 0.06  # share of pictures with two objects
FREQUENT = frozenset(  # drawn twice as often as the rest: what people ask for first
    """cube, sphere, cone, cylinder, torus, pyramid, capsule, chair, table, stool, lamp, mug, mushroom, tree, cactus,
    snowman, house, tower, car, truck, boat, rocket, airplane, hat, gift box, ice cream, cake, hamburger,
    duck""".replace("\n    ", " ").split(", ")
)


@dataclass(frozen=True)
class Batch:
    """Pictures and what is said of them."""

    pictures: Tensor  # [B, H, W, 4], 0..1, colour over the codec's grey, and coverage
    views: Tensor  # [B, 16], see `diffusion.view`
    captions: list[str]
    categories: list[str]
    cameras: Cameras
    hints: Tensor | None = None  # [B, H, W, 1], 0..1, what a ControlNet is shown; see `toybox.hints`


def random_cameras(rng: np.random.Generator, count: int, size: int) -> Cameras:
    """Cameras all around, evenly over the sphere above 30 degrees below the horizon; the toy fills the picture."""
    azimuth = rng.uniform(-math.pi, math.pi, count)
    elevation = np.arcsin(rng.uniform(-0.5, 0.999, count))
    fov = np.radians(rng.uniform(38, 52, count))
    reach = rng.uniform(1.05, 1.3, count)  # half the width that the picture shows at the origin
    distance = reach / np.tan(0.5 * fov)
    a, e, d, f = (torch.tensor(v, dtype=torch.float32) for v in (azimuth, elevation, distance, fov))
    return Cameras.orbit(a, e, d, f, size)


def random_lights(rng: np.random.Generator, count: int) -> np.ndarray:
    """Half of the pictures fully lit, a quarter plain colour, the rest between."""
    kind = rng.random(count)
    return np.where(kind < 0.5, 1.0, np.where(kind < 0.75, 0.0, rng.random(count)))


@cache
def _frequencies() -> tuple[tuple[str, ...], np.ndarray]:
    weights = np.array([2.0 if name in FREQUENT else 1.0 for name in CATEGORIES])
    return tuple(CATEGORIES), np.cumsum(weights / weights.sum())


def random_toy(rng: np.random.Generator, split: str, category: str | None) -> Toy:
    """A toy as training sees them: a few show two objects, frequent categories come more often."""
    if category is None:
        if rng.random() < RELATION_RATE:
            return sample_toy(rng, split=split, relation_rate=1.0)
        names, shares = _frequencies()
        category = names[int(np.searchsorted(shares, rng.random()))]
    return sample_toy(rng, split=split, category=category, material_rate=0.15)


def make_batch(
    seed: int,
    index: int,
    count: int,
    size: int,
    split: str = "train",
    category: str | None = None,
    factor: int = 2,
    hint: HintKind | None = None,
    kinds: Sequence[str] = (),
) -> Batch:
    """Batch `index` of the stream `seed`: `count` toys, one picture of `size` pixels each (see `picture`).

    Args:
        category: of all of them. kinds: categories to choose from evenly; by default all, and a few toys in pairs.
        hint: of which kind a hint of each picture is made too; the pictures are the same.
    """
    rng = np.random.default_rng((seed, index))
    cameras = random_cameras(rng, count, size)
    lights = random_lights(rng, count)
    poses, lenses = cameras.camera_to_world.double().numpy(), cameras.intrinsics.double().numpy()
    pictures = np.empty((count, size, size, 4), np.float32)
    depths, captions, categories = [], [], []
    for i in range(count):
        toy = random_toy(rng, split, kinds[int(rng.integers(len(kinds)))] if kinds else category)
        pictures[i], depth = picture_and_depth(pack(toy), poses[i], lenses[i], size, lights[i], factor)
        depths.append(depth)
        plain = rng.random() < 0.4  # the first wording is the plainest, what people type
        captions.append(toy.captions[0 if plain else rng.integers(len(toy.captions))])
        categories.append(toy.category)
    straight = torch.from_numpy(over_grey(pictures))
    hints = None
    if hint is not None:
        shown = [depth_hint(d, factor) for d in depths] if hint == "depth" else [edge_hint(p) for p in straight.numpy()]
        hints = torch.from_numpy(np.stack(shown))[..., None]
    views = view_vector(cameras, torch.from_numpy(lights).float())
    return Batch(straight, views, captions, categories, cameras, hints)


def stream(
    seed: int, start: int, stop: int, count: int, size: int, workers: int, factor: int = 2, hint: HintKind | None = None
) -> DataLoader:
    """The batches `start` to `stop` of a seed, see `make_batch` and `batch_stream`."""
    make = partial(_numbered, seed=seed, count=count, size=size, factor=factor, hint=hint)
    return batch_stream(make, start, stop, workers)


def _numbered(index: int, seed: int, count: int, size: int, factor: int, hint: HintKind | None) -> Batch:
    return make_batch(seed, index, count, size, factor=factor, hint=hint)


def encode(batch: Batch, codec: PatchCodec, device: torch.device | str) -> Tensor:
    """The pictures in the prior's space, [B, C, h, w]."""
    return codec.encode(batch.pictures.to(device)).contiguous(memory_format=torch.channels_last)
