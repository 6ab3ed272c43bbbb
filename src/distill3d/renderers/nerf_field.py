"""Density and colour at points: a hash grid, a small network and a blob to start from."""

from __future__ import annotations

import itertools
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from distill3d.core.component import Config
from distill3d.core.errors import UserError
from distill3d.kernels.field_heads import field_heads
from distill3d.kernels.hash_grid import GridLayout, hash_encode
from distill3d.kernels.mlp import mlp
from distill3d.kernels.view_heads import direction_basis, view_heads
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
    colour (sigmoid). The scale sets how quickly surfaces become opaque. `view_degree` of spherical harmonics lets the
    colour depend on the direction it is seen from; it needs the activation exp and no blob."""

    hidden: int = Field(32, ge=1, le=512)
    layers: int = Field(1, ge=1, le=4)
    activation: Literal["softplus", "exp"] = "softplus"
    density_scale: float = Field(5.0, gt=0)
    view_degree: int = Field(0, ge=0, le=2)


class NerfField(nn.Module):
    """Density and colour in the grid's cube. A mesh can show the part of the colour that does not depend on the view.

    Args:
        generator: source of the initial parameters.
    Raises:
        UserError: a dependence on the view together with another activation than exp, or with a blob.
    """

    def __init__(self, grid: GridConfig, blob: BlobConfig, network: FieldConfig, generator: torch.Generator) -> None:
        super().__init__()
        if network.view_degree and (network.activation != "exp" or blob.kind != "none"):
            raise UserError("renderer.network.view_degree needs network.activation exp and blob.kind none")
        self.blob, self.network = blob, network
        self.layout = GridLayout(grid.levels, grid.features, grid.log2_table, grid.base, grid.finest)
        self.active_levels = grid.levels if grid.first_levels is None else min(grid.first_levels, grid.levels)
        table = torch.rand(self.layout.table_shape, generator=generator, device=generator.device).cpu()
        self.table = nn.Parameter((2 * table - 1) * 1e-4)
        outputs = 1 + 3 * (network.view_degree + 1) ** 2
        widths = [self.layout.width, *[network.hidden] * network.layers, outputs]
        self.weights = nn.ParameterList([uniform_weights(b, a, generator) for a, b in itertools.pairwise(widths)])

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Density [N] per world unit and albedo [N, 3] at positions [N, 3] in 0..1; the blob sits in their middle."""
        network, blob = self.network, self.blob
        raw = self._raw(positions)
        if raw.shape[1] > 4:
            raw = raw[:, :4].contiguous()  # the constant harmonics: what does not depend on the view
        return field_heads(
            raw, positions, network.activation, network.density_scale, blob.kind, blob.strength, blob.radius
        )

    def seen(self, positions: Tensor, directions: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Density [N] and colour [N, 3] as packed samples see it: those of ray r from `directions` [R, 3]."""
        degree = self.network.view_degree
        if degree == 0:
            return self(positions)
        return view_heads(
            self._raw(positions), direction_basis(directions, degree), offsets, self.network.density_scale
        )

    def density(self, positions: Tensor) -> Tensor:
        """Density alone, [N]."""
        return self(positions)[0]

    def at(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """`forward` in chunks, without gradient."""
        with torch.no_grad():
            parts = [self(part) for part in positions.split(CHUNK)]
        if not parts:
            return positions.new_zeros(0), positions.new_zeros(0, 3)
        densities, colors = zip(*parts, strict=True)
        return torch.cat(densities), torch.cat(colors)

    def _raw(self, positions: Tensor) -> Tensor:
        features = hash_encode(positions, self.table, self.layout, self.active_levels)
        return mlp(features, list(self.weights))
