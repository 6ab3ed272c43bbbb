"""3D Gaussian splatting (Kerbl et al. 2023) as a renderer."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from distill3d.core.cameras import Cameras
from distill3d.core.component import Config
from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.core.ramp import NumberRampField, Ramp
from distill3d.core.rendering import Rendering
from distill3d.files.captures import Capture
from distill3d.files.splats import Splats
from distill3d.kernels.spherical_harmonics import color_of_constant, degree_of
from distill3d.kernels.splatting import Splatted, splat
from distill3d.kernels.splatting_field import SplatField
from distill3d.renderers.background import BackgroundConfig, Environment, build_background
from distill3d.renderers.base import Renderer, lit, over
from distill3d.renderers.gaussian_density import DensityConfig, DensityControl
from distill3d.renderers.gaussian_fusion import fused_surface
from distill3d.renderers.gaussian_normals import depth_normals
from distill3d.renderers.gaussian_start import (
    Cloud,
    ball_cloud,
    checked_cloud,
    mesh_cloud,
    renderer_cloud,
    splats_of,
)

PARAMETERS = ("means", "quats", "log_scales", "logits", "sh_constant", "sh_rest")
COUNTS = ("density.pull", "density.views")  # buffers with an element for each Gaussian
SURFACE_ALPHA = 0.1  # pixels below have no surface worth a normal


class StartConfig(Config):
    """`count` Gaussians at the start: evenly inside a ball of `radius` in grey of value `color`, or on whatever else
    takes over (a mesh, another renderer, a capture's points), each of `opacity`."""

    kind: Literal["ball"] = "ball"
    count: int = Field(5000, ge=1, le=5_000_000)
    radius: float = Field(0.5, gt=0, le=10)
    color: float = Field(0.5, ge=0, le=1)
    opacity: float = Field(0.1, gt=0, lt=1)


class GaussiansConfig(Config):
    """`sh_degree` of the colours' dependence on the view, one more every `sh_every` steps. `lr_means` is a ramp over
    steps; the higher harmonics learn at a twentieth of `lr_color`, as in the paper."""

    sh_degree: int = Field(0, ge=0, le=3)
    sh_every: int = Field(1000, ge=1)
    start: StartConfig = StartConfig()
    density: DensityConfig = DensityConfig()
    background: BackgroundConfig = BackgroundConfig()
    lr_means: NumberRampField = Ramp(1.6e-4)
    lr_quats: float = Field(1e-3, gt=0)
    lr_scales: float = Field(5e-3, gt=0)
    lr_opacity: float = Field(5e-2, gt=0)
    lr_color: float = Field(2.5e-3, gt=0)


class GaussianRenderer(Renderer):
    """Gaussians anywhere in space; `from_...` and `start_from...` make them from something that is there already.

    Their number may change in a run (`renderer.density`): parameters and optimizer follow, and `load_state_dict` takes
    a state of any number.
    """

    kind: ClassVar[str] = "gaussians"
    Config = GaussiansConfig

    means: nn.Parameter  # [N, 3] world units
    quats: nn.Parameter  # [N, 4] w x y z
    log_scales: nn.Parameter  # [N, 3]
    logits: nn.Parameter  # [N] of the opacities
    sh_constant: nn.Parameter  # [N, 1, 3]
    sh_rest: nn.Parameter  # [N, K - 1, 3]

    def __init__(self, config: GaussiansConfig, generator: torch.Generator | None = None) -> None:
        super().__init__(config, generator)
        start = config.start
        self.degree = 0
        self.background = build_background(config.background, self.generator)
        self.density = DensityControl(config.density, start.count)
        self._take(splats_of(ball_cloud(start.count, start.radius, start.color, self.generator), 0, start.opacity))
        self._field: tuple[tuple[int, ...], SplatField] | None = None

    def __len__(self) -> int:
        return len(self.means)

    @classmethod
    def from_splats(
        cls, splats: Splats, config: GaussiansConfig | None = None, generator: torch.Generator | None = None
    ) -> GaussianRenderer:
        """Gaussians as another program made them, all their harmonics in use."""
        degree = degree_of(splats.sh.shape[1])
        config = config or GaussiansConfig(sh_degree=degree, start=StartConfig(count=len(splats)))
        renderer = cls(config.model_copy(update={"start": StartConfig(count=1)}), generator)
        renderer.config = config
        renderer._take(splats)
        renderer.degree = min(degree, config.sh_degree)
        return renderer

    def to_splats(self) -> Splats:
        """What a splat file holds."""
        sh = torch.cat([self.sh_constant, self.sh_rest], 1)
        return Splats(*(a.detach().cpu().numpy() for a in (self.means, self.quats, self.log_scales, self.logits, sh)))

    def start_from_points(self, points: Tensor, colors: Tensor | None = None) -> None:
        """One Gaussian at each point [N, 3] (at most `density.most` of them), in its colour [N, 3] in 0..1."""
        self._start(checked_cloud(points, colors, self.config.density.most, self.generator))

    def start_from_mesh(self, mesh: Mesh) -> None:
        """`start.count` Gaussians evenly over a surface, in its colours."""
        self._start(mesh_cloud(mesh, self.config.start.count, self.generator))

    def start_from_capture(self, capture: Capture) -> None:
        """Gaussians at the points that structure from motion found; where it left none, the ball."""
        if capture.points is not None and len(capture.points):
            self.start_from_points(capture.points, capture.colors)

    def start_from(self, other: Renderer) -> None:
        """Other Gaussians as they are, else `start.count` of them on what the other's pictures show."""
        if isinstance(other, GaussianRenderer):
            self._take(other.to_splats())
        else:
            self._start(renderer_cloud(other, self.config.start.count, self.generator))

    def forward(
        self,
        cameras: Cameras,
        background: Tensor | None = None,
        light: Tensor | None = None,
        normals: bool = False,
    ) -> Rendering:
        """See `Renderer.forward`. Normals are those of the surface that the depth describes, where alpha > 0.1.

        A Gaussian's shortest axis is no normal before it has become flat; the depth always is a surface, and its
        gradient moves the Gaussians along the ray. Depth is z of the centres, weighted, stretched to the ray's length.

        extras: `foreground` [B, H, W, 3], the colour times alpha, before the background; `directions` [B, H, W, 3] of
        the rays; `samples`, the number of Gaussians; `radius` [B, N], see `kernels.splatting.Splatted`.

        Raises:
            UserError: the cameras have a lens: pictures have to be undistorted first.
        """
        if cameras.lens is not None:
            raise UserError("Gaussians are drawn by pinhole cameras alone: undistort the pictures, and drop the lens")
        origins, directions = cameras.rays()
        seen = self._splat(cameras)
        alpha = seen.alpha[..., None]
        forward = -cameras.camera_to_world[:, :3, 2].view(-1, 1, 1, 3)
        stretch = 1 / (directions * forward).sum(-1, keepdim=True)
        depth = seen.depth[..., None] / alpha.clamp(min=1e-6) * stretch
        foreground, normal = seen.rgb, None
        if light is not None or normals:
            hit = seen.alpha.detach() > SURFACE_ALPHA
            normal = depth_normals(origins + depth * directions, hit, -directions)
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
                "samples": len(self),
                "radius": seen.radius,
            },
        )

    def parameter_groups(self) -> list[dict[str, Any]]:
        config = self.config
        rates = {
            "means": config.lr_means.at(0),
            "quats": config.lr_quats,
            "log_scales": config.lr_scales,
            "logits": config.lr_opacity,
            "sh_constant": config.lr_color,
            "sh_rest": config.lr_color / 20,
        }
        groups = [
            {"name": name, "params": [getattr(self, name)], "lr": rate, "fused": True}
            for name, rate in rates.items()
            if getattr(self, name).numel()
        ]
        if isinstance(self.background, Environment):
            lr = config.background.lr
            groups.append({"name": "background", "params": list(self.background.parameters()), "lr": lr})
        return groups

    def advance(self, step: int, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Lets in higher harmonics, lowers the rate of the positions, and clones, splits or moves what is due."""
        self.degree = min(self.config.sh_degree, step // self.config.sh_every)
        for group in optimizer.param_groups if optimizer else []:
            own = any(p is self.means for p in group["params"])  # the optimizer may hold other Gaussians too
            if own and self.config.lr_means.at(0) > 0:
                group["lr"] *= self.config.lr_means.at(step) / self.config.lr_means.at(0)
        self.density.advance(self, PARAMETERS, step, optimizer, self.generator)

    def to_mesh(self, resolution: int = 128, threshold: float | None = None) -> Mesh:
        """The surface that depth pictures from all around agree on (see `geometry.depth_fusion`).

        Args:
            resolution: voxels along each side of [-1, 1]^3, so a voxel has a side of 2 / resolution world units.
            threshold: alpha from which a pixel has a depth; 0.5 by default.
        """
        return fused_surface(self, resolution, 0.5 if threshold is None else threshold)

    def density_at(self, points: Tensor) -> Tensor:
        """See `Renderer.density_at` and `kernels.splatting_field`."""
        return self._queried(points)[0]

    def color_at(self, points: Tensor) -> Tensor:
        """See `Renderer.color_at`; the part that does not depend on the view, of the Gaussians around a point."""
        return self._queried(points)[1]

    def _queried(self, points: Tensor) -> tuple[Tensor, Tensor]:
        parts = [getattr(self, name) for name in PARAMETERS]
        key = tuple(number for p in parts for number in (id(p), p._version))
        if self._field is None or self._field[0] != key:
            splats = self.to_splats()
            colors = color_of_constant(torch.from_numpy(splats.sh[:, 0])).clamp(0, 1).numpy()
            geometry = (splats.means, splats.quats, splats.log_scales, splats.logit_opacities)
            self._field = (key, SplatField(*geometry, colors))
        density, color = self._field[1].at(points.detach().float().cpu().numpy())
        return torch.from_numpy(density).to(points.device), torch.from_numpy(color).to(points.device)

    def _splat(self, cameras: Cameras) -> Splatted:
        screen = None
        if self.density.watches and self.training and torch.is_grad_enabled():
            screen = torch.zeros(len(cameras), len(self), 2, device=self.means.device, requires_grad=True)
        used = (self.degree + 1) ** 2
        sh = self.sh_constant if used == 1 else torch.cat([self.sh_constant, self.sh_rest[:, : used - 1]], 1)
        pose, size = (cameras.camera_to_world, cameras.intrinsics), (cameras.height, cameras.width)
        seen = splat(self.means, self.quats, self.log_scales, self.logits, sh, *pose, *size, self.degree, screen)
        if screen is not None:
            self.density.watch(screen, seen.radius, *size)
        return seen

    def _start(self, cloud: Cloud) -> None:
        self._take(splats_of(cloud, 0, self.config.start.opacity))

    def _take(self, splats: Splats) -> None:
        """The Gaussians from now on; harmonics beyond the config's degree are dropped, missing ones are zero."""
        device = self.means.device if hasattr(self, "means") else torch.device("cpu")
        wanted = (self.config.sh_degree + 1) ** 2
        sh = np.zeros((len(splats), wanted, 3), np.float32)
        sh[:, : splats.sh.shape[1]] = splats.sh[:, :wanted]
        values = (splats.means, splats.quats, splats.log_scales, splats.logit_opacities, sh[:, :1], sh[:, 1:])
        for name, value in zip(PARAMETERS, values, strict=True):
            setattr(self, name, nn.Parameter(torch.tensor(value, dtype=torch.float32, device=device)))
        self.density.forget(len(splats))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any, **more: Any) -> None:
        """Makes room for as many Gaussians as the state holds; torch then copies, and finds what does not fit."""
        for name in PARAMETERS:
            given, own = state_dict.get(prefix + name), getattr(self, name)
            if isinstance(given, Tensor) and given.dim() and given.shape[1:] == own.shape[1:]:
                setattr(self, name, nn.Parameter(own.detach().new_empty(given.shape), own.requires_grad))
        count = state_dict.get(prefix + COUNTS[0])
        if isinstance(count, Tensor) and count.dim() == 1:
            self.density.forget(len(count))
        super()._load_from_state_dict(state_dict, prefix, *rest, **more)
