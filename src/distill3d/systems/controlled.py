"""A sentence becomes a scene under ControlNets that are shown its own views, or those of a mesh to be followed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import model_validator
from torch import Tensor

from distill3d.core.rendering import Rendering
from distill3d.files.captures import Normalization
from distill3d.files.meshes.reading import read_mesh
from distill3d.renderers import MeshRenderer, Renderer
from distill3d.systems.base import SystemConfig
from distill3d.systems.edit import bytes_of, sides
from distill3d.systems.text_to_3d import DistillationConfig, PromptConfig, TextTo3D


class Controlled(TextTo3D):
    """Text to 3D whose prior has ControlNets (Zhang et al. 2023), which see every rendered view, or the same view of a
    given mesh: its depth, its normals or its edges.

    Raises:
        UserError: the mesh cannot be read.
    """

    kind: ClassVar[str] = "controlled"

    class Config(DistillationConfig, PromptConfig, SystemConfig):
        """`mesh`: a mesh file with z up (GLB has y up, and is turned), which is moved into the unit ball; its views are
        shown to the ControlNets in place of the scene's own. The asset is written where the mesh was."""

        mesh: str | None = None

        @model_validator(mode="after")
        def _shows_something(self) -> Controlled.Config:
            hints = max((len(section.get("control") or ()) for section in self.guidance), default=0)
            networks = len(self.prior.get("control") or ())
            if hints == 0:
                raise ValueError("no guidance has a key control, which says what the prior's ControlNets are shown")
            if hints > networks:
                raise ValueError(f"guidance shows {hints} hints, prior.control names {networks} ControlNets")
            return self

    def __init__(self, config: Any, device: torch.device, generator: torch.Generator, **more: Any) -> None:
        guide = None if config.mesh is None else read_guide(Path(config.mesh).expanduser())
        super().__init__(config, device, generator, **more)
        # In a tuple: it is read again from its file, and no part of this system's state.
        self._guide = () if guide is None else (guide[0].to(device).requires_grad_(False),)
        self._placing = None if guide is None else guide[1]

    @property
    def guide(self) -> Renderer | None:
        return self._guide[0] if self._guide else None

    @property
    def placing(self) -> Normalization | None:
        return self._placing

    def drawn(self, draw: Callable[[Renderer], Rendering]) -> Rendering:
        """The scene, with the same views of the given mesh beside it."""
        rendering = super().drawn(draw)
        if self.guide is not None:
            with torch.no_grad():
                rendering.extras["guide"] = draw(self.guide)
        return rendering

    @torch.no_grad()
    def findings(self) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """How far the silhouettes overlap those of the mesh, over four sides, and these above the asset's sides."""
        if self.guide is None:
            return {}, {}
        (_, mask), (made, alpha) = (sides(r, self.device) for r in (self.guide, self.renderer))
        overlap = {"silhouette_iou_to_mesh": soft_overlap(mask, alpha)}
        return overlap, {"mesh_above_asset": bytes_of(torch.cat([mask.expand(-1, -1, 3), made], 0))}


def soft_overlap(one: Tensor, other: Tensor) -> float:
    """Intersection over union of two coverages in 0..1."""
    return float(torch.minimum(one, other).sum() / torch.maximum(one, other).sum().clamp(min=1e-6))


def read_guide(path: Path) -> tuple[MeshRenderer, Normalization]:
    """A mesh file inside the unit ball, as something that draws, and how it came there."""
    mesh = read_mesh(path).mesh
    center = 0.5 * (mesh.vertices.min(0).astype(np.float64) + mesh.vertices.max(0))
    reach = float(np.linalg.norm(mesh.vertices - center, axis=1).max())
    placing = Normalization(np.eye(3), center, 1 / reach if reach > 0 else 1.0)
    return MeshRenderer.from_mesh(mesh.in_unit_ball()), placing
