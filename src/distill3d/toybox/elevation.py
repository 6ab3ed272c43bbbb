"""How high above the horizontal a picture was taken, read off by comparing it with toys seen from known heights.

Kernel ridge regression (Saunders et al. 1998) from what a cut-out picture shows, silhouette and shading, to the
angle, over fresh toys of every category, colour and azimuth. No network, nothing to train beforehand and nothing
shared with the prior. The farther a picture is from every toy, the nearer the answer is to the mean.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.files.cutout import recentred
from distill3d.toybox.captions import Description, Item
from distill3d.toybox.categories import CATEGORIES
from distill3d.toybox.palette import COLORS
from distill3d.toybox.pictures import pack, picture
from distill3d.toybox.world import make_toy

SEED = 6_100_000  # of the toys compared with
TOYS = 4000
SIZE = 64  # pixels of a picture before it is made small
RANGE = (-10.0, 60.0)  # degrees
LENSES = (20.0, 50.0)  # degrees, fields of view
WIDTH, RIDGE = 0.4, 0.01  # of the kernel, in median distances of the toys; of the regression


def read_elevation(pictures: Tensor, toys: int = TOYS, seed: int = SEED) -> Tensor:
    """Elevations [B], radians, within `RANGE`.

    Args:
        pictures: [B, S, S, 4] in 0..1, colour premultiplied by coverage, and coverage; the object recentred, as by
            `files.cutout.recentred`.
        toys: how many are compared with; drawing 4000 takes some seconds, once a process.
    """
    known, weights, scale, mean = _fitted(toys, seed)
    read = mean + _kernel(_seen(pictures), known, scale) @ weights
    return read.clamp(*(math.radians(end) for end in RANGE))


def draw_views(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Toys seen from all around, recentred, [count, SIZE, SIZE, 4] as `read_elevation` wants them, and elevations."""
    rng = np.random.default_rng(seed)
    azimuth, elevation, fov = (
        torch.from_numpy(np.radians(rng.uniform(low, high, count))).float()
        for low, high in ((0.0, 360.0), RANGE, LENSES)
    )
    cameras = Cameras.orbit(azimuth, elevation, 1.15 / (0.5 * fov).tan(), fov, size=SIZE)
    poses, lenses = cameras.camera_to_world.double().numpy(), cameras.intrinsics.double().numpy()
    names, shown = list(CATEGORIES), []
    for i in range(count):
        item = Item(names[i % len(names)], COLORS[rng.integers(len(COLORS))])
        view = picture(pack(make_toy(Description(item), seed + i)), poses[i], lenses[i], SIZE, factor=1)
        straight = np.concatenate([view[..., :3] / view[..., 3:].clip(1e-3), view[..., 3:]], -1)
        shown.append(recentred(np.round(255 * straight.clip(0, 1)).astype(np.uint8), SIZE))
    return torch.from_numpy(np.stack(shown)), elevation


def _seen(pictures: Tensor, side: int = 16) -> Tensor:
    """[B, S, S, 4] to [B, 2 side^2]: coverage, and brightness in units of the object's mean, whatever its colour."""
    alpha, light = pictures[..., 3].float(), pictures[..., :3].float().mean(-1)
    mean = light.flatten(1).sum(1) / alpha.flatten(1).sum(1).clamp(min=1e-3)
    both = torch.stack([alpha, light / (mean[:, None, None] + 1e-3)], 1)
    return F.adaptive_avg_pool2d(both, side).flatten(1)


def _kernel(a: Tensor, b: Tensor, scale: float) -> Tensor:
    return (-0.5 * (torch.cdist(a, b) / (WIDTH * scale)).square()).exp()


@lru_cache(maxsize=4)
def _fitted(toys: int, seed: int) -> tuple[Tensor, Tensor, float, float]:
    """What the toys show [N, F], the regression's weights [N], the median distance of two toys, the mean elevation."""
    pictures, elevation = draw_views(toys, seed)
    known, mean = _seen(pictures), float(elevation.mean())
    scale = float(torch.pdist(known[:500]).median())
    regularised = _kernel(known, known, scale) + RIDGE * torch.eye(toys)
    return known, torch.linalg.solve(regularised, elevation - mean), scale, mean
