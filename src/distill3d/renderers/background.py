"""What lies behind the object when the caller names nothing else."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from distill3d.core.component import Config


class BackgroundConfig(Config):
    """color: `value` (RGB in 0..1) everywhere. environment: a network of width `hidden` from the ray's direction, seen
    through `bands` octaves of sines and cosines, to a colour, trained at `lr`."""

    kind: Literal["color", "environment"] = "color"
    value: tuple[float, float, float] = (1.0, 1.0, 1.0)
    hidden: int = Field(16, ge=1, le=256)
    bands: int = Field(2, ge=1, le=8)
    lr: float = Field(0.001, gt=0)


class FixedBackground(nn.Module):
    """[3] for any directions; no parameters."""

    value: Tensor

    def __init__(self, config: BackgroundConfig) -> None:
        super().__init__()
        self.register_buffer("value", torch.tensor(config.value, dtype=torch.float32), persistent=False)

    def forward(self, directions: Tensor) -> Tensor:
        return self.value


class Environment(nn.Module):
    """Unit directions [..., 3] to colours [..., 3] in 0..1: a two-layer network over sines and cosines of them."""

    def __init__(self, config: BackgroundConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.bands = config.bands
        inputs = 3 + 6 * config.bands
        self.inner = nn.Parameter(uniform_weights(config.hidden, inputs, generator))
        self.outer = nn.Parameter(uniform_weights(3, config.hidden, generator))
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, directions: Tensor) -> Tensor:
        waves = [f(math.pi * 2**band * directions) for band in range(self.bands) for f in (torch.sin, torch.cos)]
        features = torch.cat([directions, *waves], -1)
        return torch.sigmoid(torch.relu(features @ self.inner.T) @ self.outer.T + self.bias)


def build_background(config: BackgroundConfig, generator: torch.Generator) -> nn.Module:
    """The module that a section names: directions [B, H, W, 3] to colours that `over` takes."""
    return FixedBackground(config) if config.kind == "color" else Environment(config, generator)


def uniform_weights(outputs: int, inputs: int, generator: torch.Generator) -> Tensor:
    """[outputs, inputs], uniform within sqrt(6 / inputs): keeps the variance through a ReLU (He et al. 2015)."""
    uniform = torch.rand(outputs, inputs, generator=generator, device=generator.device)
    return (2 * uniform - 1).cpu() * math.sqrt(6 / inputs)
