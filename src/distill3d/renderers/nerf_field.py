"""Density and albedo at points: a hash grid, a small network and a blob to start from."""

from __future__ import annotations

import itertools
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from distill3d.core.component import Config
from distill3d.kernels.field_heads import field_heads
from distill3d.kernels.hash_grid import GridLayout, hash_encode
from distill3d.kernels.mlp import mlp
from distill3d.renderers.background import uniform_weights

CHUNK = 1 << 18  # points a call, where no gradient is kept


class GridConfig(Config):
    """The hash grid (Mueller et al. 2022). `fine_from` and `fine_every` let the levels in one after another."""

    levels: int = Field(10, ge=1, le=24)
    features: int = Field(2, ge=2, le=8)
    log2_table: int = Field(15, ge=4, le=24)
    base: int = Field(8, ge=1)
    finest: int = Field(192, ge=1)
    first_levels: int | None = Field(None, ge=1, description="levels in use at the start; None uses all")
    fine_every: int = Field(100, ge=1, description="steps after which one more level comes in")


class BlobConfig(Config):
    """A bias on the density before its activation, so that training starts from a soft ball.

    magic3d: strength (1 - |x| / radius) (Magic3D, Lin et al. 2023); dreamfusion: strength exp(-|x|^2 / (2 radius^2))
    (DreamFusion, Poole et al. 2023); none: 0.
    """

    kind: Literal["magic3d", "dreamfusion", "none"] = "magic3d"
    strength: float = 10.0
    radius: float = Field(0.5, gt=0)


class FieldConfig(Config):
    """The network on top: `layers` hidden layers of `hidden`, then density (`density_scale` times `activation`) and
    albedo (sigmoid). The scale sets how quickly surfaces become opaque."""

    hidden: int = Field(32, ge=1, le=512)
    layers: int = Field(1, ge=1, le=4)
    activation: Literal["softplus", "exp"] = "softplus"
    density_scale: float = Field(5.0, gt=0)


class NerfField(nn.Module):
    """Density and albedo inside the unit ball; no dependence on the view, so that a mesh can show the same.

    Args:
        generator: source of the initial parameters.
    """

    def __init__(self, grid: GridConfig, blob: BlobConfig, network: FieldConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.blob, self.network = blob, network
        self.layout = GridLayout(grid.levels, grid.features, grid.log2_table, grid.base, grid.finest)
        self.active_levels = grid.levels if grid.first_levels is None else min(grid.first_levels, grid.levels)
        table = torch.rand(self.layout.table_shape, generator=generator, device=generator.device).cpu()
        self.table = nn.Parameter((2 * table - 1) * 1e-4)
        widths = [self.layout.width, *[network.hidden] * network.layers, 4]
        self.weights = nn.ParameterList([uniform_weights(b, a, generator) for a, b in itertools.pairwise(widths)])

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Density [N] per world unit and albedo [N, 3] at positions [N, 3], the cube [-1, 1]^3 mapped to 0..1."""
        features = hash_encode(positions, self.table, self.layout, self.active_levels)
        raw = mlp(features, list(self.weights))
        network, blob = self.network, self.blob
        return field_heads(
            raw, positions, network.activation, network.density_scale, blob.kind, blob.strength, blob.radius
        )

    def density(self, positions: Tensor) -> Tensor:
        """Density alone, [N]."""
        return self(positions)[0]

    def at(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Density and albedo at world points [N, 3] in chunks, without gradient; density is 0 outside the unit ball."""
        densities, colors = [], []
        with torch.no_grad():
            for part in points.split(CHUNK):
                density, color = self((part * 0.5 + 0.5).clamp(0, 1).float())
                densities.append(density * (part.norm(dim=-1) <= 1))
                colors.append(color)
        if not densities:
            return points.new_zeros(0), points.new_zeros(0, 3)
        return torch.cat(densities), torch.cat(colors)
