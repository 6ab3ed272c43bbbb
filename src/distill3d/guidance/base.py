"""What every guidance is: a rendering and its cameras in, a loss out."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from distill3d.core.cameras import Cameras
from distill3d.core.component import Component, Config
from distill3d.core.ramp import NumberRampField, Ramp
from distill3d.core.rendering import Rendering


@dataclass
class GuidanceOutput:
    """What a guidance says about one batch of views.

    Args:
        loss: scalar, already times the guidance's `weight`; its graph ends in the rendering.
        gradient: with respect to the prior's x [B, c, h, w], before `weight`; None where there is no such thing.
        metrics: numbers to log, by name.
        images: pictures for previews, [B, H, W, 3] in 0..1, by name; filled where they were asked for.
    """

    loss: Tensor
    gradient: Tensor | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    images: dict[str, Tensor] = field(default_factory=dict)


class Guidance(Component, nn.Module):
    """Base of the family. A member takes `config` and, by keyword, what it needs of the run: prior, prompt, ..."""

    family: ClassVar[str] = "guidance"
    config: Any

    class Config(Config):
        """`weight`: of the loss, a ramp over steps."""

        weight: NumberRampField = Ramp(1.0)

    def __init__(self, config: Any = None) -> None:
        super().__init__()
        self.config = config if config is not None else self.Config()

    @classmethod
    def examine(cls, config: Any) -> None:
        """Check the files that a config names, before anything is made or loaded.

        Raises:
            UserError: what building the guidance would stumble over.
        """

    @property
    def sees_normals(self) -> bool:
        """Whether views have to be drawn with normals."""
        return False

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for a torch optimiser, `name`, `params`, `lr`, of what the guidance itself learns: mostly nothing."""
        return []

    @abstractmethod
    def forward(self, rendering: Rendering, cameras: Cameras, step: int, preview: bool = False) -> GuidanceOutput:
        """The loss of `B` rendered views.

        Args:
            rendering: of `cameras`.
            step: of the run, for ramps.
            preview: whether to fill `images`.
        """
