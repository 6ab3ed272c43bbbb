"""What guidance and sampling may ask of a 2D model, whatever it is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from distill3d.core.cameras import Cameras
from distill3d.core.component import Component
from distill3d.diffusion.condition import Condition
from distill3d.diffusion.hint import Hint
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.schedule import NoiseSchedule


class Prior(Component, nn.Module):
    """What guidance and sampling may ask of a 2D model.

    Attributes:
        schedule: its noise schedule.
        channels: of the pictures it knows, 3 (RGB) or 4 (RGBA).
        resolution: side of those pictures in pixels.
        background: grey level 0..1 that an RGBA prior's colour is composited over; None without alpha.
        sees_cameras: whether `condition` makes use of cameras.
        sees_image: whether `condition` needs a picture.
        clip_range: limits of a clean x, or None where it has none (latents).
        together: how many views, one after the other in a batch, it denoises as one thing at one time.
    """

    family: ClassVar[str] = "prior"
    schedule: NoiseSchedule
    channels: int
    resolution: int
    background: float | None = None
    sees_cameras: bool = False
    sees_image: bool = False
    clip_range: tuple[float, float] | None = None
    together: int = 1

    @classmethod
    def examine(cls, config: Any) -> None:
        """Check the names and the files of a config as far as that goes without loading or downloading anything.

        Raises:
            UserError: what building the prior would stumble over.
        """

    @property
    def sees_alpha(self) -> bool:
        """Whether pictures are RGBA."""
        return self.channels == 4

    @abstractmethod
    def encode(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Pictures [B, H, W, C] in 0..1 to the prior's space [B, c, h, w]; differentiable."""

    @abstractmethod
    def decode(self, x: Tensor) -> Tensor:
        """[B, c, h, w] back to pictures [B, H, W, C]; not clamped."""

    @abstractmethod
    def x_shape(self, batch: int) -> tuple[int, ...]:
        """(batch, c, h, w) of the prior's space."""

    @abstractmethod
    def condition(
        self,
        prompts: str | Sequence[str],
        cameras: Cameras | None = None,
        light: float | Tensor | None = None,
        negative: str | Sequence[str] = "",
        drop_view: bool = False,
        image: Tensor | None = None,
        control: Hint | Sequence[Hint | None] | None = None,
    ) -> Condition:
        """Text and cameras as the denoiser takes them; the result knows its unconditional branch.

        Args:
            prompts: one for all pictures, or one a picture.
            cameras: `B` cameras, or None for "no camera is given".
            light: share of shading, a number or [B]; None is 1. Only heard with cameras.
            negative: text of the unconditional branch.
            drop_view: whether the unconditional branch loses the camera too; it keeps it by default.
            image: [B or 1, H, W, C] in 0..1, the picture that the prompt is about, for priors that see one. The
                unconditional branch keeps it, and has an unconditional branch of its own that does not.
            control: what the prior's ControlNets are shown, in their order; kept by the unconditional branch.
        """

    def unknown_words(self, prompt: str) -> list[str]:
        """The words of a prompt that this prior cannot hear; none where it takes any text apart into pieces."""
        return []

    def unheard(self, prompt: str) -> str:
        """The end of a prompt that is cut off because it does not fit; empty where all of it is heard."""
        return ""

    @abstractmethod
    def denoise(self, x_t: Tensor, t: Tensor, condition: Condition) -> Prediction:
        """One network call for x_t [B, c, h, w] and t [B] integers."""
