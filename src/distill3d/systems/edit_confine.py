"""Gaussians of an edit that is held to a region stay in it: a Gaussian has no end, so its ellipsoid is asked."""

from __future__ import annotations

import torch
from torch import Tensor

from distill3d.geometry.region import Region
from distill3d.kernels.splatting_torch import rotation_of
from distill3d.renderers import GaussianRenderer

REACH = 1.0  # standard deviations
SHAPE = ("means", "quats", "log_scales")


def shape_of(renderer: GaussianRenderer) -> tuple[Tensor, Tensor, Tensor]:
    """Means [N, 3], quaternions [N, 4] and log-scales [N, 3], the renderer's own, without a graph."""
    return renderer.means.detach(), renderer.quats.detach(), renderer.log_scales.detach()


def lie_in(region: Region, means: Tensor, quats: Tensor, log_scales: Tensor) -> Tensor:
    """Which of N Gaussians lie in a region, [N] bool: their centres and the six tips of their ellipsoids do."""
    axes = REACH * (rotation_of(quats) * log_scales.exp()[:, None, :]).transpose(1, 2)  # [N, 3 axes, 3]
    points = torch.cat([means[:, None], means[:, None] + axes, means[:, None] - axes], 1)
    return region.contains(points.reshape(-1, 3)).view(len(means), 7).all(1)


class Confinement:
    """After each step of `optimizer`, a Gaussian that reaches out of the region goes back to where, and as large as, it
    was before the step; its colour and opacity keep what they learnt."""

    def __init__(self, renderer: GaussianRenderer, region: Region, optimizer: torch.optim.Optimizer) -> None:
        self._renderer, self._region = renderer, region
        self._before = [value.clone() for value in shape_of(renderer)]
        optimizer.register_step_post_hook(lambda *_: self._confine())

    def _confine(self) -> None:
        now = shape_of(self._renderer)
        out = ~lie_in(self._region, *now)
        for value, before in zip(now, self._before, strict=True):
            value[out] = before[out]
            before.copy_(value)
