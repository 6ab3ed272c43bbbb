"""A few Gaussians and cameras for the tests of splatting."""

from __future__ import annotations

import torch
from torch import Tensor

from distill3d.core.cameras import Cameras

HEIGHT, WIDTH = 50, 70  # no multiple of a tile


def gaussians(count: int = 60, seed: int = 0, degree: int = 3) -> list[Tensor]:
    """means, quats, log-scales, logits, harmonics."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    means = (torch.rand(count, 3, generator=generator) - 0.5) * 1.4
    scales = torch.rand(count, 3, generator=generator) * 0.15 + 0.02
    return [means, normal(count, 4), scales.log(), 2 * normal(count), 0.3 * normal(count, (degree + 1) ** 2, 3)]


def cameras(count: int = 3, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Cameras:
    return Cameras.orbit(torch.tensor([0.3, 2.0, 4.1])[:count], 0.3, 3.0, 0.8, size)
