"""Where a picture of a toy is seen from, read off by comparing it with real toybox pictures of the same kind.

A nearest-neighbour pose regressor: no network, nothing to train, nothing shared with the prior that it judges.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.toybox.captions import Description, Item
from distill3d.toybox.pictures import pack, picture
from distill3d.toybox.world import make_toy

SEED = 6_000_000  # of the pictures compared with
NEAREST = 8  # neighbours that are asked


def read_azimuth(
    pictures: Tensor,
    category: str,
    color: str,
    elevation: float,
    toys: int = 16,
    turns: int = 30,
    seed: int = SEED,
) -> Tensor:
    """Azimuths [B], radians, of pictures of one kind of toy, fully lit, from cameras like `Cameras.orbit`'s own.

    Every picture is compared with `toys` x `turns` real ones, at 16 x 16 pixels, so that fine detail and softness
    count little. The nearest vote, each for its own azimuth, weighted by closeness; the direction with the most votes
    within 20 degrees wins, so that front and back, where both look alike, are not averaged to a side.

    Args:
        pictures: [B, H, H, 4] in 0..1, colour over grey 0.5, and coverage.
        elevation: radians, known.
    """
    references, azimuth = _references(category, color, elevation, toys, turns, seed)
    distance = torch.cdist(_small(pictures), references)
    near, which = distance.topk(NEAREST, largest=False)
    weight = (-2 * (near / near[:, :1].clamp(min=1e-6)).square()).exp()
    votes = azimuth[which]  # [B, NEAREST]
    apart = torch.remainder(votes[:, :, None] - votes[:, None] + math.pi, 2 * math.pi) - math.pi
    close = weight[:, None] * (apart.abs() < math.radians(20))  # [B, candidate, voter]
    winner = close.sum(2).argmax(1)
    share = close[torch.arange(len(winner)), winner]
    return torch.atan2((share * votes.sin()).sum(1), (share * votes.cos()).sum(1))


def azimuth_error(read: Tensor, true: Tensor) -> Tensor:
    """Absolute difference of two angles in radians, in 0..pi."""
    return (torch.remainder(read - true + math.pi, 2 * math.pi) - math.pi).abs()


def _small(pictures: Tensor) -> Tensor:
    """[B, H, H, 4] to [B, 16 * 16 * 4]."""
    return F.adaptive_avg_pool2d(pictures.permute(0, 3, 1, 2).float(), 16).flatten(1)


@lru_cache(maxsize=128)
def _references(
    category: str, color: str, elevation: float, toys: int, turns: int, seed: int, size: int = 32
) -> tuple[Tensor, Tensor]:
    """Small real pictures [toys * turns, 1024] of fresh toys, each from all around, and their azimuths."""
    rng = np.random.default_rng(seed)
    start = rng.random(toys)[:, None]
    azimuth = torch.from_numpy((np.arange(turns) + start).ravel() * (2 * math.pi / turns)).float()
    cameras = Cameras.orbit(azimuth, elevation, size=size)
    poses, lenses = cameras.camera_to_world.double().numpy(), cameras.intrinsics.double().numpy()
    packed = [pack(make_toy(Description(Item(category, color)), seed + i)) for i in range(toys)]
    shown = [picture(packed[i // turns], poses[i], lenses[i], size, factor=1) for i in range(toys * turns)]
    rgba = torch.from_numpy(np.stack(shown))
    rgba[..., :3] += 0.5 * (1 - rgba[..., 3:])
    return _small(rgba), azimuth
