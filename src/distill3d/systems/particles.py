"""A sentence becomes several scenes at once that share a guidance: the particles of ProlificDreamer (Wang et al. 2023).

Variational score distillation asks for a distribution of scenes, which `n` of them stand for (algorithm 1). What its
LoRA learns, it learns from the renderings of all, so a scene is not only drawn to where the prior is likely but also
away from where the others are. With any other guidance the scenes know nothing of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from distill3d.core.rendering import Rendering
from distill3d.diffusion.prior import Prior
from distill3d.guidance import Guidance
from distill3d.renderers import Renderer
from distill3d.systems.text_to_3d import TextTo3D, begun


class Particles(TextTo3D):
    """Text to 3D with several particles. Each step takes one batch of views of every one, so that ramps over steps mean
    the same whatever their number; a step costs as much as that many of a single scene.

    The first is `renderer`, what a run folder is opened as; the others are `others`. With one particle it is TextTo3D,
    to the bit.
    """

    kind: ClassVar[str] = "particles"
    sections: ClassVar[dict[str, Any]] = {"prior": Prior, "renderer": Renderer, "guidance": Guidance}

    class Config(TextTo3D.Config):
        """`particles`: how many scenes are made."""

        particles: int = Field(1, ge=1, le=16)

    def __init__(self, config: Any, device: torch.device, generator: torch.Generator, **more: Any) -> None:
        super().__init__(config, device, generator, **more)
        self.others = nn.ModuleList(
            Renderer.build(begun(config), "renderer", generator=generator).to(device)
            for _ in range(config.particles - 1)
        )
        self._drawn = 0  # the number of the particle whose views are drawn

    @property
    def further(self) -> dict[str, Renderer]:
        return {f"particle-{i}": other for i, other in enumerate(self._others(), 2)}

    def _others(self) -> Iterator[Renderer]:
        for other in self.others:
            assert isinstance(other, Renderer)
            yield other

    def parameter_groups(self) -> list[dict[str, Any]]:
        groups = super().parameter_groups()
        for name, other in self.further.items():
            groups += [{**group, "name": f"{name}/{group['name']}"} for group in other.parameter_groups()]
        return groups

    def advance(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        super().advance(step, optimizer)
        for other in self._others():
            other.advance(step, optimizer)

    def losses(self, step: int) -> dict[str, Tensor]:
        """Those of every particle: the first's by their own names, the others' with theirs before it."""
        losses: dict[str, Tensor] = {}
        metrics: dict[str, float] = {}
        for i, name in enumerate(["", *self.further]):
            self._drawn = i
            start = f"{name}/" if name else ""
            losses |= {start + key: loss for key, loss in super().losses(step).items()}
            metrics |= {start + key: value for key, value in self._metrics.items()}
        self._drawn, self._metrics = 0, metrics
        return losses

    def drawn(self, draw: Callable[[Renderer], Rendering]) -> Rendering:
        return draw([self.renderer, *self._others()][self._drawn])

    def preview(self, step: int) -> dict[str, np.ndarray]:
        """Four sides of every particle, one a row."""
        rows = [self.sides_of(renderer) for renderer in (self.renderer, *self._others())]
        return {"views": np.concatenate(rows)}
