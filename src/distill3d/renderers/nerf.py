"""A neural radiance field without view dependence: hash grid, occupancy grid, volume rendering."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.component import Config
from distill3d.core.mesh import Mesh
from distill3d.core.rendering import Rendering
from distill3d.kernels.compositing import composite
from distill3d.kernels.marching import RaySamples, march
from distill3d.kernels.occupancy import OccupancyGrid
from distill3d.renderers.background import BackgroundConfig, Environment, build_background
from distill3d.renderers.base import Renderer, over, shade
from distill3d.renderers.nerf_field import BlobConfig, FieldConfig, GridConfig, NerfField
from distill3d.renderers.nerf_normals import density_normals

SURFACE_ALPHA = 0.1  # pixels below have no surface worth a normal


class OccupancyConfig(Config):
    """The grid that says where to evaluate; every `refresh_every` steps, all cells until `warmup`, then a quarter."""

    resolution: int = Field(64, ge=8, le=256)
    threshold: float = Field(0.005, gt=0)
    decay: float = Field(0.8, gt=0, lt=1)
    refresh_every: int = Field(16, ge=1)
    warmup: int = Field(128, ge=0)


class NerfConfig(Config):
    """`step` is the distance of two samples on a ray and `normal_eps` that of the finite differences, world units."""

    step: float = Field(2 / 96, gt=0, le=0.25)
    normal_eps: float = Field(0.05, gt=0, le=0.25)
    grid: GridConfig = GridConfig()
    blob: BlobConfig = BlobConfig()
    network: FieldConfig = FieldConfig()
    occupancy: OccupancyConfig = OccupancyConfig()
    background: BackgroundConfig = BackgroundConfig()
    lr_grid: float = Field(0.03, gt=0)
    lr_network: float = Field(0.01, gt=0)


class NerfRenderer(Renderer):
    """NeRF (Mildenhall et al. 2020) on a hash grid (Mueller et al. 2022), inside the unit ball.

    In training mode the samples of each ray are shifted by one random number from the generator; in evaluation mode
    they are not, and two renderings are the same bits.
    """

    kind: ClassVar[str] = "nerf"
    Config = NerfConfig

    def __init__(self, config: NerfConfig, generator: torch.Generator | None = None) -> None:
        super().__init__(config, generator)
        self.field = NerfField(config.grid, config.blob, config.network, self.generator)
        self.background = build_background(config.background, self.generator)
        occupancy = config.occupancy
        self.occupancy = OccupancyGrid(occupancy.resolution, occupancy.threshold, occupancy.decay)

    def forward(
        self,
        cameras: Cameras,
        background: Tensor | None = None,
        light: Tensor | None = None,
        normals: bool = False,
    ) -> Rendering:
        """See `Renderer.forward`. Normals stand where alpha > 0.1, else 0.

        extras: `foreground` [B, H, W, 3], the colour times alpha, before the background; `directions` [B, H, W, 3] of
        the rays and `distortion` [B, H, W, 1], for the regularisers; `samples`, how many the field was evaluated at.
        """
        origins, directions = cameras.rays()
        shape = directions.shape[:-1]
        samples = self._samples(origins.reshape(-1, 3), directions.reshape(-1, 3))
        density, albedo = self.field(samples.positions)
        seen = composite(density, albedo, samples.t, samples.offsets, samples.step)
        alpha = seen.alpha.view(*shape, 1)
        depth = (seen.depth / seen.alpha.clamp(min=1e-6)).view(*shape, 1)
        foreground = seen.rgb.view(*shape, 3)
        normal = None
        if light is not None or normals:
            normal, hit = self._normals(origins, directions, seen.surface.view(shape), alpha)
            if light is not None:
                brightness = shade(normal, -directions, light.view(-1, 1, 1))
                foreground = foreground * torch.where(hit, brightness, 1.0)[..., None]
        behind = self.background(directions) if background is None else background.to(foreground)
        return Rendering(
            rgb=over(foreground, alpha, behind),
            alpha=alpha,
            depth=depth,
            normal=normal,
            extras={
                "foreground": foreground,
                "directions": directions,
                "distortion": seen.distortion.view(*shape, 1),
                "samples": len(samples.t),
            },
        )

    def parameter_groups(self) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = [
            {"name": "grid", "params": [self.field.table], "lr": self.config.lr_grid},
            {"name": "network", "params": list(self.field.weights), "lr": self.config.lr_network},
        ]
        if isinstance(self.background, Environment):
            lr = self.config.background.lr
            groups.append({"name": "background", "params": list(self.background.parameters()), "lr": lr})
        return groups

    def advance(self, step: int, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Lets in finer levels of the grid, and refreshes the occupancy when it is due."""
        grid, occupancy = self.config.grid, self.config.occupancy
        if grid.first_levels is not None:
            self.field.active_levels = min(grid.levels, grid.first_levels + step // grid.fine_every)
        if step % occupancy.refresh_every == 0:
            share = 1.0 if step < occupancy.warmup else 0.25
            self.occupancy.refresh(self.density_at, self.config.step, self.generator, share)

    def to_mesh(self, resolution: int = 128, threshold: float | None = None) -> Mesh:
        """The log of the density is contoured: it is about linear across the surface. See `density_threshold`."""
        import numpy as np

        from distill3d.geometry.density_threshold import FLOOR, density_threshold
        from distill3d.geometry.iso_surface import iso_surface, sample_grid

        density = sample_grid(self.density_at, resolution)
        level = density_threshold(density)[0] if threshold is None else threshold
        return iso_surface(np.log(np.maximum(density, FLOOR)), float(np.log(max(level, FLOOR))))

    def color_at(self, points: Tensor) -> Tensor:
        return self.field.at(points)[1]

    def density_at(self, points: Tensor) -> Tensor:
        return self.field.at(points)[0]

    def _samples(self, origins: Tensor, directions: Tensor) -> RaySamples:
        jitter = None
        if self.training:
            jitter = torch.rand(len(origins), generator=self.generator, device=self.generator.device).to(origins.device)
        return march(origins, directions, self.occupancy.distance, self.config.step, jitter)

    def _normals(self, origins: Tensor, directions: Tensor, surface: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """Normals [B, H, W, 3] at distance `surface` on the rays with alpha above a bound, and which these are."""
        hit = alpha.detach()[..., 0] > SURFACE_ALPHA
        points = (origins + surface[..., None] * directions)[hit]
        normal = torch.zeros_like(directions)
        if len(points):
            normal[hit] = density_normals(self.field.density, points * 0.5 + 0.5, self.config.normal_eps)
        return normal, hit
