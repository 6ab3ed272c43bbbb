"""CLIP guidance (Jain et al. 2022, "Zero-Shot Text-Guided Object Generation with Dream Fields")."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from pydantic import Field, field_validator
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.ramp import NumberRampField, Ramp
from distill3d.core.rendering import Rendering
from distill3d.diffusion.backdrops import KINDS, cut, over, random_backdrops, random_windows
from distill3d.diffusion.text_image import TextImageEncoder, check, load_text_image
from distill3d.guidance.base import Guidance, GuidanceOutput
from distill3d.guidance.pictures import resized
from distill3d.guidance.view_prompts import view_prompts


def similarity_loss(pictures: Tensor, texts: Tensor) -> Tensor:
    """Minus the mean cosine of pictures and their texts (eq. 4): unit vectors [B, D] and [B or 1, D] to a scalar."""
    return -(pictures * texts).sum(1).mean()


def transmittance_loss(alpha: Tensor, opacity: Tensor) -> Tensor:
    """Minus the mean transmittance, as far as it is wanted (eq. 5): `-mean min(tau, mean (1 - alpha))`.

    Empty space is rewarded up to tau, so that fog has to gather into a thing; emptier than tau is not rewarded.

    Args:
        alpha: [B, H, W, 1]. opacity: [B], 1 - tau, the share of each picture that may be covered.
    """
    return -torch.minimum(1 - opacity, 1 - alpha.flatten(1).mean(1)).mean()


def target_opacity(step: int, start: float, end: float, steps: int) -> float:
    """From `start` to `end` in `steps` steps, evenly in the logarithm, as in the authors' code; then `end`."""
    share = min(1.0, step / steps)
    return math.exp((1 - share) * math.log(start) + share * math.log(end))


def reach(cameras: Cameras) -> Tensor:
    """Half the width that each picture shows at the distance of the origin, [B], world units."""
    return cameras.distance * (0.5 * cameras.fov).tan()


def augmented(
    foreground: Tensor,
    alpha: Tensor,
    size: int,
    generator: torch.Generator,
    scale: tuple[float, float],
    move: float,
    kinds: tuple[str, ...] = KINDS,
) -> Tensor:
    """Views cut at random over random backdrops, [B, size, size, 3] in 0..1; differentiable with respect to the views.

    Args:
        foreground: [B, H, W, 3], colour times coverage. alpha: [B, H, W, 1].
        scale, move: as for `random_windows`.
    """
    count = len(foreground)
    windows = random_windows(count, generator, scale, move)
    layers = cut(torch.cat([foreground, alpha], -1).permute(0, 3, 1, 2), windows, size)
    backdrops = random_backdrops(count, size, generator, kinds).to(layers)
    return over(layers[:, :3], layers[:, 3:], backdrops).permute(0, 2, 3, 1)


class Clip(Guidance):
    """Dream Fields' guidance: views that a text-image encoder finds close to the prompt, of a scene mostly empty.

    Args:
        prompt: what it should look like.
        generator: of the cuts and the backdrops.
        negative_prompt: what it should not; see `negative`.
    """

    kind: ClassVar[str] = "clip"

    class Config(Guidance.Config):
        """`model`: the encoder, "toybox" or a folder of a transformers CLIP or of an OpenCLIP model; `cuts` of each
        view, their `window` (least and most side, in sides of the picture) and `move`; `backdrops`: their kinds;
        `transmittance`: weight of that loss, a ramp; `opacity`: [start, end] of the share of a picture that may be
        covered, with the unit ball's rim at the picture's, over `opacity_steps`; `negative`: weight of the closeness
        to the negative prompt, which is pushed away; `view_prompts`: append "front view" and the like."""

        model: str = "toybox"
        cuts: int = Field(4, ge=1, le=64)
        window: tuple[float, float] = (0.9, 1.2)
        move: float = Field(0.1, ge=0, le=1)
        backdrops: tuple[str, ...] = KINDS
        transmittance: NumberRampField = Ramp(0.5)
        opacity: tuple[float, float] = (0.6, 0.12)
        opacity_steps: int = Field(500, ge=1)
        negative: float = Field(0.5, ge=0)
        view_prompts: bool = False

        @field_validator("window", "opacity")
        @classmethod
        def _positive(cls, pair: tuple[float, float]) -> tuple[float, float]:
            if min(pair) <= 0:
                raise ValueError("both numbers are above 0")
            return pair

        @field_validator("opacity")
        @classmethod
        def _shares(cls, pair: tuple[float, float]) -> tuple[float, float]:
            if max(pair) > 1:
                raise ValueError("both numbers are shares of the picture, at most 1")
            return pair

        @field_validator("window")
        @classmethod
        def _ordered(cls, pair: tuple[float, float]) -> tuple[float, float]:
            if pair[0] > pair[1]:
                raise ValueError("a window is [least, most]")
            return pair

        @field_validator("backdrops")
        @classmethod
        def _known(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
            unknown = [kind for kind in kinds if kind not in KINDS]
            if unknown or not kinds:
                raise ValueError(f"backdrops are some of {', '.join(KINDS)}")
            return kinds

    def __init__(
        self,
        config: Any = None,
        *,
        prompt: str,
        generator: torch.Generator,
        negative_prompt: str = "",
        encoder: TextImageEncoder | None = None,
        **context: Any,
    ) -> None:
        super().__init__(config)
        self.prompt, self.negative_prompt, self.generator = prompt, negative_prompt, generator
        # In a tuple, so that the encoder's weights are not parameters of the guidance, nor part of a checkpoint.
        device = generator.device
        self._encoder = (encoder or load_text_image(self.config.model, device, "guidance.model"),)
        self._texts: dict[str, Tensor] = {}

    @classmethod
    def examine(cls, config: Any) -> None:
        check(config.model, "guidance.model")

    @property
    def encoder(self) -> TextImageEncoder:
        return self._encoder[0]

    def forward(self, rendering: Rendering, cameras: Cameras, step: int, preview: bool = False) -> GuidanceOutput:
        config, count = self.config, len(cameras)
        pictures = self.pictures(rendering)
        seen = self.encoder.pictures(pictures)
        loss = similarity_loss(seen, self._prompts(cameras).repeat(config.cuts, 1))
        metrics = {"similarity": -float(loss.detach())}
        if self.negative_prompt:
            loss = loss - config.negative * similarity_loss(seen, self._heard([self.negative_prompt]))
        start, end = config.opacity
        wanted = target_opacity(step, start, end, config.opacity_steps) / reach(cameras).square()
        weight = config.transmittance.at(step)
        loss = loss + weight * transmittance_loss(rendering.alpha, wanted.clamp(max=1).to(rendering.alpha))
        metrics |= {"opacity": float(rendering.alpha.detach().mean()), "wanted_opacity": float(wanted.mean())}
        images = {"seen": pictures[:count].detach()} if preview else {}
        return GuidanceOutput(config.weight.at(step) * loss, None, metrics, images)

    def pictures(self, rendering: Rendering) -> Tensor:
        """What the encoder is shown: `cuts` of each view, all views first, [cuts * B, size, size, 3]. A rendering that
        does not know its foreground is shown as it is."""
        config, size = self.config, self.encoder.size
        if "foreground" not in rendering.extras:
            return resized(rendering.rgb, size).repeat(config.cuts, 1, 1, 1)
        foreground, alpha = (t.repeat(config.cuts, 1, 1, 1) for t in (rendering.extras["foreground"], rendering.alpha))
        return augmented(foreground, alpha, size, self.generator, config.window, config.move, config.backdrops)

    def _prompts(self, cameras: Cameras) -> Tensor:
        """[B, D], the prompt from each camera."""
        if self.config.view_prompts:
            return self._heard(view_prompts(self.prompt, cameras))
        return self._heard([self.prompt] * len(cameras))

    def _heard(self, prompts: list[str]) -> Tensor:
        new = [p for p in dict.fromkeys(prompts) if p not in self._texts]
        if new:
            self._texts |= dict(zip(new, self.encoder.texts(new), strict=True))
        return torch.stack([self._texts[p] for p in prompts])
