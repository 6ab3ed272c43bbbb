"""Part Gaussians as a differentiable renderer: SPAGHETTI's occupancy as a volume, a colour for every part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from distill3d.core.cameras import Cameras
from distill3d.core.component import Config
from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.core.rendering import Rendering
from distill3d.kernels.compositing import composite
from distill3d.kernels.occupancy import OccupancyGrid
from distill3d.parts.gaussians import PartGaussians, orthonormal
from distill3d.parts.generation import generate
from distill3d.parts.model import PartModel, load_part_model
from distill3d.parts.network import PartNetwork
from distill3d.parts.part_file import read_parts
from distill3d.parts.parts import Parts
from distill3d.parts.surface import CHUNK, to_mesh
from distill3d.parts.words import words_of
from distill3d.renderers.background import BackgroundConfig, Environment, build_background
from distill3d.renderers.base import Renderer, lit, over
from distill3d.renderers.nerf_normals import density_normals
from distill3d.renderers.nerf_space import Ball, SpaceConfig, chunked_rows, evenly

SURFACE_ALPHA = 0.1  # pixels below have no surface worth a normal
SHARPNESS = 3.0  # on the logits: what the network is not quite sure of, far from every surface, would be fog
RAYS_AT_ONCE = 1 << 12  # where no gradient is kept


class PartsConfig(Config):
    """`model`: "toybox" or a folder of part models. `start`: a file of parts (`distill3d parts`), or a sentence that
    SALAD makes a shape of, such as "a chair with round arms"; words that SALAD has not learnt are left out. Where it
    is empty, text to 3D begins with what its prompt says, and anything else with any shape.
    `density`: per world unit, of what is solid. `step`: distance of two samples on a ray, world units. `lr_...`: of the
    Gaussians' places, axes and sizes, of what the parts hold, and of their colours.
    """

    model: str = "toybox"
    start: str = ""
    density: float = Field(60.0, gt=0)
    step: float = Field(0.032, gt=0, le=0.25)
    normal_eps: float = Field(0.05, gt=0, le=0.25)
    background: BackgroundConfig = BackgroundConfig()
    lr_means: float = Field(0.004, gt=0)
    lr_axes: float = Field(0.01, gt=0)
    lr_sizes: float = Field(0.01, gt=0)
    lr_intrinsics: float = Field(0.02, gt=0)
    lr_color: float = Field(0.05, gt=0)


class PartsRenderer(Renderer):
    """Where the parts are, how large they are, what they hold and their colours are parameters; the network is not.

    In training mode the samples of each ray are shifted by one random number from the generator.
    """

    kind: ClassVar[str] = "parts"
    Config = PartsConfig

    def __init__(
        self,
        config: PartsConfig,
        generator: torch.Generator | None = None,
        start: Callable[[PartNetwork], Parts] | None = None,
    ) -> None:
        super().__init__(config, generator)
        model = load_part_model(config.model)
        # Not a submodule: its weights are those of the model, in no checkpoint and no optimiser.
        object.__setattr__(self, "network", model.network)
        shape = start(model.network) if start is not None else begun(config, model, self.generator)
        gaussians = shape.gaussians
        self.means = nn.Parameter(gaussians.means.clone())
        self.axes = nn.Parameter(gaussians.axes.clone())
        self.log_eigenvalues = nn.Parameter(gaussians.eigenvalues.log())
        self.intrinsics = nn.Parameter(shape.intrinsics.clone())
        self.color = nn.Parameter(torch.zeros(len(shape), 3))
        self.register_buffer("logits", gaussians.logits.clone())
        self.background = build_background(config.background, self.generator)
        self.space = Ball(SpaceConfig(), config.step)
        self.occupancy = OccupancyGrid(64, threshold=0.02)
        self.occupancy.refresh(self.density_at, config.step, None)

    logits: Tensor
    network: Any

    @property
    def parts(self) -> Parts:
        """The shape as it is now, with gradients to the parameters."""
        eigenvalues = self.log_eigenvalues.clamp(max=0.0).exp()
        gaussians = PartGaussians(self.means, orthonormal(self.axes), eigenvalues, self.logits)
        return Parts(gaussians, self.intrinsics)

    def forward(
        self,
        cameras: Cameras,
        background: Tensor | None = None,
        light: Tensor | None = None,
        normals: bool = False,
    ) -> Rendering:
        """See `Renderer.forward`. Normals stand where alpha > 0.1, else 0.

        extras: `foreground` [B, H, W, 3], the colour times alpha, before the background; `directions` [B, H, W, 3] of
        the rays and `distortion` [B, H, W, 1], for the regularisers; `samples`, how many points were asked.
        """
        origins, directions = cameras.rays()
        shape, count = directions.shape[:-1], directions[..., 0].numel()
        jitter = evenly(self.generator, count, directions.device) if self.training else None
        field = PartField(self)
        rows = [slice(0, count)] if torch.is_grad_enabled() else chunked_rows(count, RAYS_AT_ONCE)
        flat = (origins.reshape(-1, 3), directions.reshape(-1, 3))
        seen = [self._trace(field, flat[0][r], flat[1][r], None if jitter is None else jitter[r]) for r in rows]
        columns = [torch.cat(column) for column in zip(*(s[:5] for s in seen), strict=True)]
        foreground, alpha, depth, distortion, surface = (v.view(*shape, -1) for v in columns)
        normal = None
        if light is not None or normals:
            hit = alpha.detach()[..., 0] > SURFACE_ALPHA
            normal = torch.zeros_like(directions)
            points = (origins + surface * directions)[hit]
            if len(points):
                eps = self.config.normal_eps
                normal[hit] = density_normals(lambda p: field.inside(p * 2 - 1), points * 0.5 + 0.5, eps)
            if light is not None:
                foreground = lit(foreground, normal, hit, directions, light)
        behind = self.background(directions) if background is None else background.to(foreground)
        extras = {"foreground": foreground, "directions": directions, "distortion": distortion}
        return Rendering(
            rgb=over(foreground, alpha, behind),
            alpha=alpha,
            depth=depth,
            normal=normal,
            extras=extras | {"samples": sum(s[5] for s in seen)},
        )

    def _trace(self, field: PartField, origins: Tensor, directions: Tensor, jitter: Tensor | None) -> tuple:
        at = self.space.samples(origins, directions, self.occupancy.distance, jitter)
        points = at.positions * 2 - 1
        density = self.config.density * field.inside(points)
        seen = composite(density, field.color(points), at.t, at.offsets, self.space.step)
        mean = seen.depth / seen.alpha.clamp(min=1e-6)
        return seen.rgb, seen.alpha, mean, seen.distortion, seen.surface, len(at.t)

    def parameter_groups(self) -> list[dict[str, Any]]:
        config = self.config
        groups: list[dict[str, Any]] = [
            {"name": "means", "params": [self.means], "lr": config.lr_means},
            {"name": "axes", "params": [self.axes], "lr": config.lr_axes},
            {"name": "sizes", "params": [self.log_eigenvalues], "lr": config.lr_sizes},
            {"name": "intrinsics", "params": [self.intrinsics], "lr": config.lr_intrinsics},
            {"name": "color", "params": [self.color], "lr": config.lr_color},
        ]
        if isinstance(self.background, Environment):
            groups.append(
                {"name": "background", "params": list(self.background.parameters()), "lr": config.background.lr}
            )
        return groups

    def advance(self, step: int, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Refreshes where there is something to look at."""
        if step % 8 == 0:
            self.occupancy.refresh(self.density_at, self.space.step, self.generator, 1.0 if step < 32 else 0.25)

    def to_mesh(self, resolution: int = 128, threshold: float | None = None) -> Mesh:
        """Where the occupancy is one half; `threshold` is not asked for."""
        with torch.no_grad():
            return to_mesh(self.network, self.parts, resolution)

    @torch.no_grad()
    def color_at(self, points: Tensor) -> Tensor:
        """See `Renderer.color_at`."""
        return PartField(self).color(points.float())

    @torch.no_grad()
    def density_at(self, points: Tensor) -> Tensor:
        """See `Renderer.density_at`."""
        field = PartField(self)
        return torch.cat([self.config.density * field.inside(p) for p in points.float().split(CHUNK)])


def begun(config: PartsConfig, model: PartModel, generator: torch.Generator) -> Parts:
    """The shape that `config.start` names.

    Raises:
        UserError: a file that is none of parts, or of parts that hold another number of values than the model's.
    """
    sizes = model.network.sizes
    if not config.start.endswith(".safetensors"):
        salad = model.generator()
        words = [word for word in words_of(config.start) if word in salad.vocabulary]
        return generate(salad, words, 1, sizes.parts, generator)[0]
    shape = read_parts(Path(config.start))
    if shape.intrinsics.shape[-1] != sizes.intrinsics:
        raise UserError(
            f"renderer.start {config.start}: its parts hold {shape.intrinsics.shape[-1]} numbers each, "
            f"those of renderer.model {config.model} {sizes.intrinsics}"
        )
    return shape


class PartField:
    """What is where, for the parameters as they are: the parts look at each other once for all points."""

    def __init__(self, renderer: PartsRenderer) -> None:
        self.parts = renderer.parts
        self.network, self.colors = renderer.network, renderer.color.sigmoid()
        self.embeddings = self.network.mixing(self.parts.intrinsics[None], self.parts.gaussians[None])

    def inside(self, points: Tensor) -> Tensor:
        """Occupancy [N] in 0..1 at points [N, 3]."""
        if not len(points):
            return points.new_zeros(0)
        logits = self.network.occupancy(self.embeddings, self.parts.gaussians[None], points[None])[0]
        return (SHARPNESS * logits).sigmoid()

    def color(self, points: Tensor) -> Tensor:
        """[N, 3]: the parts' colours, each as much as its Gaussian is likely to have made the point."""
        return self.parts.gaussians.log_densities(points).softmax(-1) @ self.colors
