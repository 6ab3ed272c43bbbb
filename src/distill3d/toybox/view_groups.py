"""Groups of pictures of one toy from all around, as MVDream (Shi et al. 2024, section 3.2) learns from them, without
end: batch `i` of seed `s` is always the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from distill3d.core.cameras import Cameras
from distill3d.diffusion.view import view_vector
from distill3d.toybox.batch_stream import batch_stream
from distill3d.toybox.captions import Item, article, noun_phrase
from distill3d.toybox.dataset import random_cameras, random_lights, random_toy
from distill3d.toybox.parts import Toy
from distill3d.toybox.pictures import over_grey, pack, picture


@dataclass(frozen=True)
class GroupBatch:
    """G toys from V cameras each; the pictures of one follow each other, B = G V."""

    pictures: Tensor  # [B, H, W, 4], 0..1, colour over the codec's grey, and coverage
    views: Tensor  # [B, 16], see `diffusion.view`
    captions: list[str]  # of the groups, [G]
    open_captions: list[str]  # the same with the colour left open
    cameras: Cameras  # [B]

    @property
    def together(self) -> int:
        """Pictures of a group."""
        return len(self.pictures) // len(self.captions)


def group_cameras(rng: np.random.Generator, count: int, together: int, size: int) -> Cameras:
    """Cameras of `count` groups, [count together]: those of a group differ in azimuth alone, by equal angles."""
    first = random_cameras(rng, count, size)
    turns = torch.arange(together) * (2 * math.pi / together)
    azimuth = (first.azimuth[:, None] + turns).flatten()
    elevation, distance, fov = (
        v.repeat_interleave(together) for v in (first.elevation, first.distance, first.fov)
    )  # fmt: skip
    return Cameras.orbit(azimuth, elevation, distance, fov, size)


def without_color(toy: Toy) -> str:
    """What a toy is, with its colours left open: "a chair", "a striped mug", "a cube on top of a box"."""
    phrases = [noun_phrase(Item(toy.category, None, toy.material)), *(name for name, _ in toy.others)]
    return f" {toy.relation} ".join(f"{article(phrase)} {phrase}" for phrase in phrases)


def make_groups(
    seed: int,
    index: int,
    count: int,
    size: int,
    together: int = 4,
    split: str = "train",
    one_orbit: bool = False,
    factor: int = 2,
) -> GroupBatch:
    """Batch `index` of the stream `seed`: `count` toys, `together` pictures of `size` pixels each, under one light.

    Args:
        one_orbit: all groups have the same cameras and light, so that their pictures can change places.
    """
    rng = np.random.default_rng((seed, index))
    orbits = 1 if one_orbit else count
    cameras = group_cameras(rng, orbits, together, size)
    lights = random_lights(rng, orbits).repeat(together)
    if one_orbit:
        cameras, lights = cameras[torch.arange(together).repeat(count)], np.tile(lights, count)
    poses, lenses = cameras.camera_to_world.double().numpy(), cameras.intrinsics.double().numpy()
    pictures = np.empty((count * together, size, size, 4), np.float32)
    captions, open_captions = [], []
    for group in range(count):
        toy = random_toy(rng, split, None)
        packed = pack(toy)
        for i in range(group * together, (group + 1) * together):
            pictures[i] = picture(packed, poses[i], lenses[i], size, lights[i], factor)
        plain = rng.random() < 0.4  # the first wording is the plainest, what people type
        captions.append(toy.captions[0 if plain else rng.integers(len(toy.captions))])
        open_captions.append(without_color(toy))
    straight = torch.from_numpy(over_grey(pictures))
    views = view_vector(cameras, torch.from_numpy(lights).float())
    return GroupBatch(straight, views, captions, open_captions, cameras)


def group_stream(seed: int, start: int, stop: int, count: int, size: int, together: int, workers: int) -> DataLoader:
    """The batches `start` to `stop` of a seed, see `make_groups` and `batch_stream`."""
    make = partial(_numbered, seed=seed, count=count, size=size, together=together)
    return batch_stream(make, start, stop, workers)


def _numbered(index: int, seed: int, count: int, size: int, together: int) -> GroupBatch:
    return make_groups(seed, index, count, size, together)
