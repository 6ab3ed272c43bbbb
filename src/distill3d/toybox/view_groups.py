"""Training pictures of toys from several sides at once: group `i` of seed `s` is always the same."""

from __future__ import annotations

import math

import numpy as np
import torch

from distill3d.core.cameras import Cameras
from distill3d.diffusion.view import view_vector
from distill3d.toybox.dataset import Batch, random_cameras, random_lights, random_toy
from distill3d.toybox.pictures import pack, picture


def make_groups(
    seed: int, index: int, groups: int, views: int, size: int, split: str = "train", category: str | None = None
) -> Batch:
    """`groups` toys, each from `views` cameras that differ in azimuth alone, by equal angles; one light a toy.

    The views of a toy follow each other; captions and categories are repeated for each.
    """
    rng = np.random.default_rng((seed, index))
    one, lights = random_cameras(rng, groups, size), random_lights(rng, groups).repeat(views)
    turns = torch.arange(views).repeat(groups) * (2 * math.pi / views)
    azimuth, elevation, distance, fov = (
        value.repeat_interleave(views) for value in (one.azimuth, one.elevation, one.distance, one.fov)
    )
    cameras = Cameras.orbit(azimuth + turns, elevation, distance, fov, size)
    poses, lenses = cameras.camera_to_world.double().numpy(), cameras.intrinsics.double().numpy()
    pictures = np.empty((groups * views, size, size, 4), np.float32)
    captions: list[str] = []
    categories: list[str] = []
    for group in range(groups):
        toy = random_toy(rng, split, category)
        packed = pack(toy)
        for i in range(group * views, (group + 1) * views):
            pictures[i] = picture(packed, poses[i], lenses[i], size, lights[i], 2)
        plain = rng.random() < 0.4
        captions += [toy.captions[0 if plain else rng.integers(len(toy.captions))]] * views
        categories += [toy.category] * views
    straight = torch.from_numpy(pictures)
    straight[..., :3] += 0.5 * (1 - straight[..., 3:])
    return Batch(straight, view_vector(cameras, torch.from_numpy(lights).float()), captions, categories, cameras)
