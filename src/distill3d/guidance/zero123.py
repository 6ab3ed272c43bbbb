"""Score distillation from a prior that knows one picture of the thing (Liu et al. 2023, "Zero-1-to-3", section 3.3)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.core.ramp import NumberRampField, Ramp
from distill3d.diffusion.base import Prior
from distill3d.diffusion.condition import Condition
from distill3d.diffusion.novel_view import NovelViewPrior
from distill3d.guidance.sds import SDS


class Zero123SDS(SDS):
    """Zero-1-to-3's guidance: SDS, each view judged as what its camera would see of the picture.

    Args:
        picture: [H, W, 4] in 0..1, colour premultiplied by coverage. reference: the camera that took it.
        light: share of shading in it, 0..1. prompt: what it shows, where the prior hears that; "" lets it find out.
    Raises:
        UserError: the prior cannot be told a picture and a relative camera.
    """

    kind: ClassVar[str] = "zero123"

    class Config(SDS.Config):
        """As for sds, with the published scale of 3."""

        cfg_scale: NumberRampField = Ramp(3.0)

    def __init__(
        self,
        config: Any = None,
        *,
        prior: Prior,
        picture: Tensor,
        reference: Cameras,
        light: float = 1.0,
        generator: torch.Generator,
        prompt: str = "",
        negative_prompt: str = "",
    ) -> None:
        if not isinstance(prior, NovelViewPrior):
            raise UserError(f"guidance zero123 needs a prior that turns pictures, such as zero123, not {prior.kind!r}")
        super().__init__(config, prior=prior, prompt=prompt, generator=generator, negative_prompt=negative_prompt)
        self._novel, self.reference = (prior,), prior.remember(picture, reference, prompt, light)

    def condition(self, cameras: Cameras, light: Tensor | None = None, prompt: str | None = None) -> Condition:
        """The picture, as each camera would see it."""
        return self._novel[0].seen_from(self.reference, cameras, light)
