"""Pictures of toys from two sides, without end: batch `i` of seed `s` is always the same.

The given picture is a little larger or smaller than it should be, and a little off its place: who aligns a photograph
with the prior's world (`diffusion.pose_search`) does it as well as that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from distill3d.core.cameras import Cameras
from distill3d.toybox.batch_stream import batch_stream
from distill3d.toybox.dataset import random_cameras, random_lights, random_toy
from distill3d.toybox.framing import Frame, seen_in_frame
from distill3d.toybox.parts import Toy
from distill3d.toybox.pictures import over_grey, pack

_GROWN, _MOVED = 0.05, 0.04  # deviations of the given picture's scale, and of its place in world units
_SAME_LIGHT = 0.6  # share of pairs under one light


@dataclass(frozen=True)
class ViewPairs:
    """Pictures of the same toys from two cameras each; of colour over the codec's grey, and coverage."""

    given: Tensor  # [B, H, W, 4], 0..1
    asked: Tensor  # the same
    captions: list[str]
    lights: Tensor  # [B], of the picture that is asked for, see `diffusion.view`
    references: Cameras  # azimuths are counted from the toys' fronts
    cameras: Cameras
    toys: list[Toy]


def make_view_pairs(
    seed: int, index: int, count: int, size: int, split: str = "train", category: str | None = None, factor: int = 2
) -> ViewPairs:
    """Batch `index` of the stream `seed`: `count` toys, two pictures of `size` pixels each.

    Args:
        category: of all of them; by default as the prior's training has them. factor: samples a pixel, along one side.
    """
    rng = np.random.default_rng((seed, index))
    toys = [random_toy(rng, split, category) for _ in range(count)]
    references, cameras = reference_cameras(rng, count, size), random_cameras(rng, count, size)
    lights = random_lights(rng, count)
    others = np.where(rng.random(count) < _SAME_LIGHT, lights, random_lights(rng, count))
    grown, moved = rng.normal(1, _GROWN, count).clip(0.85, 1.15), rng.normal(0, _MOVED, (count, 3))
    pictures = np.empty((2, count, size, size, 4), np.float32)
    for i, toy in enumerate(toys):
        packed = pack(toy)
        about = Frame(moved[i], float(grown[i]))
        pictures[0, i] = seen_in_frame(packed, about, references[i], float(others[i]), factor)
        pictures[1, i] = seen_in_frame(packed, Frame(np.zeros(3), 1.0), cameras[i], float(lights[i]), factor)
    given, asked = torch.from_numpy(over_grey(pictures))
    plain = rng.random(count) < 0.4  # the first wording is the plainest, what people type
    said = [toy.captions[0 if p else rng.integers(len(toy.captions))] for p, toy in zip(plain, toys, strict=True)]
    return ViewPairs(given, asked, said, torch.from_numpy(lights).float(), references, cameras, toys)


def reference_cameras(rng: np.random.Generator, count: int, size: int) -> Cameras:
    """Cameras as people hold them: all around, 10 degrees below the horizon to 60 above it."""
    azimuth = rng.uniform(-math.pi, math.pi, count)
    elevation = np.arcsin(rng.uniform(math.sin(math.radians(-10)), math.sin(math.radians(60)), count))
    fov, reach = np.radians(rng.uniform(38, 52, count)), rng.uniform(1.05, 1.3, count)
    a, e, d, f = (torch.tensor(v, dtype=torch.float32) for v in (azimuth, elevation, reach / np.tan(0.5 * fov), fov))
    return Cameras.orbit(a, e, d, f, size)


def view_pair_stream(seed: int, start: int, stop: int, count: int, size: int, workers: int) -> DataLoader:
    """The batches `start` to `stop` of a seed, see `make_view_pairs` and `batch_stream`."""
    return batch_stream(partial(_numbered, seed=seed, count=count, size=size), start, stop, workers)


def _numbered(index: int, seed: int, count: int, size: int) -> ViewPairs:
    return make_view_pairs(seed, index, count, size)
