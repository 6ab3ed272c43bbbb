"""A neural radiance field: hash grid, occupancy grid, volume rendering."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.component import Config
from distill3d.core.mesh import Mesh
from distill3d.core.rendering import Rendering
from distill3d.geometry.region import Region
from distill3d.kernels.compositing import composite
from distill3d.kernels.marching import chebyshev_distance
from distill3d.kernels.occupancy import OccupancyGrid
from distill3d.renderers.background import BackgroundConfig, Environment, build_background
from distill3d.renderers.base import Renderer, lit, over
from distill3d.renderers.nerf_apart import ApartField
from distill3d.renderers.nerf_field import BlobConfig, FieldConfig, GridConfig, NerfField
from distill3d.renderers.nerf_normals import density_normals
from distill3d.renderers.nerf_region import RegionField
from distill3d.renderers.nerf_space import FieldSamples, SpaceConfig, build_space, chunked_rows, evenly
from distill3d.renderers.nerf_visible import visible

SURFACE_ALPHA = 0.1  # pixels below have no surface worth a normal
RAYS_AT_ONCE = 1 << 12  # where no gradient is kept


class OccupancyConfig(Config):
    """The grid that says where to evaluate; every `refresh_every` steps, all cells until `warmup`, then `share`."""

    resolution: int = Field(64, ge=8, le=256)
    threshold: float = Field(0.005, gt=0)
    decay: float = Field(0.8, gt=0, lt=1)
    refresh_every: int = Field(16, ge=1)
    warmup: int = Field(128, ge=0)
    share: float = Field(0.25, gt=0, le=1)


class NerfConfig(Config):
    """`step` is the distance of two samples on a ray and `normal_eps` that of the finite differences, world units.
    `region` is where an edited field may differ from what it was (`box:...` or `sphere:...`, see `geometry.region`).
    `shape`: shared has density and colour from the same parameters, apart from their own (groups shape_grid and
    shape_network), and still holds the density as it is; not together with a region."""

    step: float = Field(2 / 96, gt=0, le=0.25)
    normal_eps: float = Field(0.05, gt=0, le=0.25)
    space: SpaceConfig = SpaceConfig()
    grid: GridConfig = GridConfig()
    blob: BlobConfig = BlobConfig()
    network: FieldConfig = FieldConfig()
    occupancy: OccupancyConfig = OccupancyConfig()
    background: BackgroundConfig = BackgroundConfig()
    region: str | None = None
    shape: Literal["shared", "apart", "still"] = "shared"
    lr_grid: float = Field(0.03, gt=0)
    lr_network: float = Field(0.01, gt=0)


class TracedRays(NamedTuple):
    """What R rays see, without a background.

    foreground [R, 3], colour times alpha; alpha [R]; depth [R], the expected distance (0 where nothing is hit);
    distortion [R]; surface [R], the distance at which a fifth of the opacity is reached, without gradient;
    samples, how many the field was evaluated at.
    """

    foreground: Tensor
    alpha: Tensor
    depth: Tensor
    distortion: Tensor
    surface: Tensor
    samples: int


class NerfRenderer(Renderer):
    """NeRF (Mildenhall et al. 2020) on a hash grid (Mueller et al. 2022), in the unit ball or in contracted space.

    In training mode the samples of each ray are shifted by one random number from the generator; in evaluation mode
    they are not, and two renderings are the same bits.
    """

    kind: ClassVar[str] = "nerf"
    Config = NerfConfig

    def __init__(self, config: NerfConfig, generator: torch.Generator | None = None) -> None:
        super().__init__(config, generator)
        field = NerfField(config.grid, config.blob, config.network, self.generator)
        self.field: NerfField | RegionField | ApartField = field
        self.background = build_background(config.background, self.generator)
        self.space = build_space(config.space, config.step)
        if config.region is not None:
            kept = NerfField(config.grid, config.blob, config.network, self.generator)
            self.field = RegionField(field, kept, Region.parse(config.region), self.space, config.occupancy.resolution)
        elif config.shape != "shared":
            density = NerfField(config.grid, config.blob, config.network, self.generator)
            self.field = ApartField(density, field, config.shape == "still")
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
        seen = self.trace(origins.reshape(-1, 3), directions.reshape(-1, 3))
        alpha = seen.alpha.view(*shape, 1)
        depth = seen.depth.view(*shape, 1)
        foreground = seen.foreground.view(*shape, 3)
        normal = None
        if light is not None or normals:
            normal, hit = self._normals(origins, directions, seen.surface.view(shape), alpha)
            if light is not None:
                foreground = lit(foreground, normal, hit, directions, light)
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
                "samples": seen.samples,
            },
        )

    def trace(self, origins: Tensor, directions: Tensor) -> TracedRays:
        """What rays see, each by itself: the pixels of a picture, or any others.

        Args:
            origins, directions: [R, 3], world; directions have unit length.
        """
        jitter = evenly(self.generator, len(origins), origins.device) if self.training else None
        if torch.is_grad_enabled():
            return self._trace(origins, directions, jitter)
        parts = [
            self._trace(origins[rows], directions[rows], None if jitter is None else jitter[rows])
            for rows in chunked_rows(len(origins), RAYS_AT_ONCE)
        ]
        columns = zip(*(part[:5] for part in parts), strict=True)
        foreground, alpha, depth, distorted, surface = (torch.cat(column) for column in columns)
        return TracedRays(foreground, alpha, depth, distorted, surface, sum(part.samples for part in parts))

    def _samples(self, origins: Tensor, directions: Tensor, jitter: Tensor | None = None) -> FieldSamples:
        if isinstance(self.field, RegionField):
            return self.field.samples(origins, directions, self.occupancy.distance, jitter)
        return self.space.samples(origins, directions, self.occupancy.distance, jitter)

    def _trace(self, origins: Tensor, directions: Tensor, jitter: Tensor | None) -> TracedRays:
        at = self._samples(origins, directions, jitter)
        if self.space.hides:
            at = visible(at, self.field.density, self.space.step)
        density, color = self.field.seen(at.positions, directions, at.offsets)
        if at.stretch is not None:
            density = density * at.stretch
        seen = composite(density, color, at.t, at.offsets, self.space.step)
        mean = seen.depth / seen.alpha.clamp(min=1e-6)
        depth, surface = self.space.distance(mean), self.space.distance(seen.surface)
        return TracedRays(seen.rgb, seen.alpha, depth, seen.distortion, surface, len(at.t))

    def parameter_groups(self) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = [
            {"name": "grid", "params": [self.field.table], "lr": self.config.lr_grid, "fused": True},
            {"name": "network", "params": list(self.field.weights), "lr": self.config.lr_network},
        ]  # fused: one pass over the table's millions of rows instead of ten
        if isinstance(self.field, ApartField) and not self.field.still:
            shape = self.field.shape
            groups += [
                {"name": "shape_grid", "params": [shape.table], "lr": self.config.lr_grid, "fused": True},
                {"name": "shape_network", "params": list(shape.weights), "lr": self.config.lr_network},
            ]
        if isinstance(self.background, Environment):
            lr = self.config.background.lr
            groups.append({"name": "background", "params": list(self.background.parameters()), "lr": lr})
        return groups

    def advance(self, step: int, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Lets in finer levels of the grid, and refreshes the occupancy when it is due."""
        grid, occupancy = self.config.grid, self.config.occupancy
        if isinstance(self.field, RegionField):
            return  # what is occupied outside the region stays as it was, and inside it everything is looked at
        if isinstance(self.field, ApartField) and self.field.still:
            return  # and here all of it stays
        if grid.first_levels is not None:
            self.field.active_levels = min(grid.levels, grid.first_levels + step // grid.fine_every)
        if step % occupancy.refresh_every == 0:
            share = 1.0 if step < occupancy.warmup else occupancy.share
            self.occupancy.refresh(self._density_per_s, self.space.step, self.generator, share)

    def edit_of(self, scene: NerfRenderer, to_file: Tensor) -> None:
        """Begins as `scene`, from which it may then differ inside the region. `to_file`: see `RegionField`."""
        assert isinstance(self.field, RegionField)
        assert isinstance(scene.field, NerfField)
        self.field.take(scene.field, to_file, scene.occupancy.occupied)
        self.background.load_state_dict(scene.background.state_dict())
        self.occupancy.load_state_dict(scene.occupancy.state_dict())
        n = self.config.occupancy.resolution
        points, reach = self._cells(torch.arange(n**3, device=to_file.device)), math.sqrt(3) / n * self._cell_scale
        touched = (self.field.region.away(points) <= reach).view(n, n, n)
        in_ball = torch.zeros_like(touched).view(-1)
        in_ball[self.occupancy.ball] = True
        occupied = self.occupancy.occupied | touched & in_ball.view(n, n, n)
        self.occupancy.distance.copy_(chebyshev_distance(occupied))

    def occupied_points(self) -> Tensor:
        """The middles of the occupied cells, world, [N, 3]; in contracted space those in the unit ball alone."""
        points = self._cells(self.occupancy.occupied.flatten().nonzero()[:, 0])
        return points[points.norm(dim=-1) <= 1]

    @property
    def _cell_scale(self) -> int:
        return 1 if self.config.space.kind == "ball" else 2  # contraction leaves the unit ball, half of the cube, alone

    def _cells(self, index: Tensor) -> Tensor:
        n = self.config.occupancy.resolution
        corner = torch.stack([index // (n * n), index // n % n, index % n], -1)
        return ((corner + 0.5) / n * 2 - 1) * self._cell_scale

    def to_mesh(self, resolution: int = 128, threshold: float | None = None) -> Mesh:
        """The log of the density is contoured: it is about linear across the surface. See `density_threshold`."""
        import numpy as np

        from distill3d.geometry.density_threshold import FLOOR, density_threshold
        from distill3d.geometry.iso_surface import iso_surface, sample_grid

        density = sample_grid(self.density_at, resolution)
        level = density_threshold(density)[0] if threshold is None else threshold
        return iso_surface(np.log(np.maximum(density, FLOOR)), float(np.log(max(level, FLOOR))))

    def color_at(self, points: Tensor) -> Tensor:
        """See `Renderer.color_at`; the part that does not depend on the view."""
        return self.field.at(self.space.positions(points.float()).clamp(0, 1))[1]

    def density_at(self, points: Tensor) -> Tensor:
        """See `Renderer.density_at`; 0 outside the unit ball, in contracted space too: a mesh shows what is inside."""
        density = self.field.at(self.space.positions(points.float()).clamp(0, 1))[0]
        return density * (points.norm(dim=-1) <= 1)

    def _density_per_s(self, points: Tensor) -> Tensor:
        """Density per unit of the rays' coordinate at points [N, 3] of the occupancy grid's cube."""
        positions, stretch = self.space.of_cells(points.float())
        return self.field.at(positions.clamp(0, 1))[0] * stretch * (points.norm(dim=-1) <= 1)

    def _normals(self, origins: Tensor, directions: Tensor, surface: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """Normals [B, H, W, 3] at distance `surface` on the rays with alpha above a bound, and which these are."""
        hit = alpha.detach()[..., 0] > SURFACE_ALPHA
        points = (origins + surface[..., None] * directions)[hit]
        normal = torch.zeros_like(directions)
        if len(points):
            positions = self.space.positions
            normal[hit] = density_normals(
                lambda near: self.field.density(positions(near * 2 - 1)), points * 0.5 + 0.5, self.config.normal_eps
            )
        return normal, hit
