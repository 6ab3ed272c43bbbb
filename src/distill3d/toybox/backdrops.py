"""Toybox pictures before plain walls: what a prior without a channel for coverage is shown."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

GREY, WHITE = 0.5, 0.2  # share of the pictures; the rest stand before any colour
_PLAIN = 0.09  # a pixel further than this from the border's colour, in one channel, belongs to the toy


def random_backdrops(rng: np.random.Generator, count: int) -> Tensor:
    """[B, 3] in 0..1: half of them grey 0.5, a fifth white, the rest any colour."""
    kind = rng.random((count, 1))
    colors = np.where(kind < GREY, 0.5, np.where(kind < GREY + WHITE, 1.0, rng.random((count, 3))))
    return torch.from_numpy(colors).float()


def before(pictures: Tensor, backdrops: Tensor) -> Tensor:
    """Pictures [B, H, W, 4], colour over grey 0.5 and coverage, before backdrops [B, 3] instead: [B, H, W, 3]."""
    return pictures[..., :3] + (1 - pictures[..., 3:]) * (backdrops[:, None, None] - 0.5)


def over_grey(pictures: Tensor) -> Tensor:
    """Pictures [B, H, W, 3] before plain walls, as colour over grey 0.5 and coverage [B, H, W, 4], 0 or 1.

    The wall is the median colour of the border. What differs from it is toy: a part of a toy that has the wall's own
    colour is lost, as it is to the eye.
    """
    border = torch.cat([pictures[:, 0], pictures[:, -1], pictures[:, :, 0], pictures[:, :, -1]], 1)
    wall = border.median(1).values[:, None, None]
    covered = ((pictures - wall).abs().amax(-1, keepdim=True) > _PLAIN).to(pictures)
    return torch.cat([covered * pictures + (1 - covered) * 0.5, covered], -1)
