"""A mesh becomes parts that can be moved: shape inversion (Hertz et al. 2022) as a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.component import Config
from distill3d.core.errors import UserError
from distill3d.files.meshes import read_mesh
from distill3d.parts.inversion import SolidSamples, read_by_encoder, solid_of
from distill3d.parts.losses import mixture_loss, occupancy_loss
from distill3d.renderers import Renderer
from distill3d.renderers.parts import PartsConfig, PartsRenderer
from distill3d.systems.base import System, SystemConfig


class InversionConfig(Config):
    """`mesh` is the file; `points` a step are told inside or out, three quarters of them by the surface; `mixture` is
    the weight of the Gaussians' likelihood of points inside."""

    mesh: str
    renderer: dict[str, Any] = {"kind": "parts"}
    points: int = Field(1536, ge=8)
    mixture: float = Field(0.02, ge=0)


class PartInversion(System):
    """The encoder's reading of a closed mesh, and descent on the parts from there."""

    kind: ClassVar[str] = "part_inversion"
    sections: ClassVar[dict[str, Any]] = {"renderer": Renderer}
    renderer: PartsRenderer

    class Config(InversionConfig, SystemConfig):
        """A mesh, and the parts to read it as."""

        @property
        def subject(self) -> str | None:
            return Path(self.mesh).stem

    def __init__(self, config: Any, device: torch.device, generator: torch.Generator) -> None:
        super().__init__(config, device, generator)
        member, settings = Renderer.parse(config.renderer, "renderer")
        if not issubclass(member, PartsRenderer) or not isinstance(settings, PartsConfig):
            raise UserError(f"part_inversion reads a mesh as renderer.kind=parts, not {config.renderer['kind']!r}")
        cells = solid_of(read_mesh(Path(config.mesh)).mesh)
        self.renderer = PartsRenderer(settings, generator, lambda network: read_by_encoder(network, cells)).to(device)
        self.samples = SolidSamples(cells)

    def losses(self, step: int) -> dict[str, Tensor]:
        asked = self.samples.draw(self.config.points, self.generator)
        parts = self.renderer.parts
        points = asked.points[None].to(self.device)
        logits = self.renderer.network.logits(parts.intrinsics[None], parts.gaussians[None], points)
        inside = asked.inside[None].to(self.device)
        return {
            "occupancy": occupancy_loss(logits, asked.filled[None].to(self.device)),
            "mixture": self.config.mixture * mixture_loss(parts.gaussians, inside[0]),
        }

    @torch.no_grad()
    def preview(self, step: int) -> dict[str, np.ndarray]:
        """Four sides, in one row."""
        cameras = Cameras.orbit(torch.arange(4) * (torch.pi / 2) + 0.5, 0.3, 2.8, 0.785, 128).to(self.device)
        was_training = self.renderer.training
        self.renderer.eval()
        rgb = self.renderer(cameras, torch.full((3,), 0.5, device=self.device)).rgb
        self.renderer.train(was_training)
        return {"views": (torch.cat(list(rgb), 1).clamp(0, 1) * 255).byte().cpu().numpy()}
