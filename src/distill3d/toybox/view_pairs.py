"""Several pictures of one toy without end, for models that turn one picture into another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.toybox.dataset import random_lights, random_toy
from distill3d.toybox.pictures import pack, picture

FOV = 45.0  # degrees: one lens for all, as novel-view models have it
REACH = (1.05, 1.3)  # half the width that a picture shows at the origin


@dataclass(frozen=True)
class Toys:
    """Pictures of `B` toys from `V` cameras each; row `b * V + v` of `cameras` and `pictures` is toy b's view v."""

    pictures: Tensor  # [B V, H, W, 4], 0..1, colour over grey 0.5, and coverage
    cameras: Cameras
    categories: list[str]  # [B]
    views: int

    def pairs(self, shift: int) -> Tensor:
        """[B V] rows of the pictures that stand `shift` views after each within its toy."""
        rows = torch.arange(len(self.pictures)).view(-1, self.views)
        return rows.roll(-shift, 1).flatten()


def make_toys(seed: int, index: int, count: int, views: int, size: int, split: str = "train", factor: int = 1) -> Toys:
    """Batch `index` of the stream `seed`: `count` toys, each from `views` cameras and in one light (see `picture`)."""
    rng = np.random.default_rng((seed, index))
    cameras = orbit_cameras(rng, count * views, size)
    lights = random_lights(rng, count)
    poses, lenses = cameras.camera_to_world.double().numpy(), cameras.intrinsics.double().numpy()
    pictures, categories = np.empty((count * views, size, size, 4), np.float32), []
    for i in range(count):
        toy = random_toy(rng, split, None)
        packed = pack(toy)
        categories.append(toy.category)
        for row in range(i * views, (i + 1) * views):
            pictures[row] = picture(packed, poses[row], lenses[row], size, lights[i], factor)
    straight = torch.from_numpy(pictures)
    straight[..., :3] += 0.5 * (1 - straight[..., 3:])
    return Toys(straight, cameras, categories, views)


def orbit_cameras(rng: np.random.Generator, count: int, size: int) -> Cameras:
    """All around, evenly over the sphere above 20 degrees below the horizon."""
    azimuth = rng.uniform(-math.pi, math.pi, count)
    elevation = np.arcsin(rng.uniform(math.sin(math.radians(-20)), 0.97, count))
    distance = rng.uniform(*REACH, count) / math.tan(math.radians(FOV / 2))
    a, e, d = (torch.tensor(v, dtype=torch.float32) for v in (azimuth, elevation, distance))
    return Cameras.orbit(a, e, d, math.radians(FOV), size)
