"""What all score distillation shares: pictures into the prior's space, a time and a noise each, a gradient back."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.core.ramp import NumberRampField, Ramp, RampField
from distill3d.core.rendering import Rendering
from distill3d.diffusion.condition import Condition, blended, hinted
from distill3d.diffusion.perp_neg import Negative
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.prior import Prior
from distill3d.diffusion.sampling import standard_normal
from distill3d.guidance.base import Guidance, GuidanceOutput
from distill3d.guidance.dreamtime import scheduled_time, time_weights
from distill3d.guidance.pictures import presentable, shown
from distill3d.guidance.surrogate import surrogate_loss
from distill3d.guidance.view_hints import HintConfig, view_hints
from distill3d.guidance.view_prompts import every_view, other_view_weights, view_prompts, view_shares


@dataclass(frozen=True)
class Sight:
    """One batch of views as score distillation looks at them.

    Args:
        x: in the prior's space, [B, c, h, w], without a graph. t: [B]. noise: shaped like x.
        condition: the prompt from each camera. negatives: what to turn away from, by Perp-Neg, with weights [B].
        cameras, light: of the views. step: of the run.
        source: the same views of the scene that is edited, as it was, [B, c, h, w]; None where nothing is edited.
    """

    x: Tensor
    t: Tensor
    noise: Tensor
    condition: Condition
    cameras: Cameras
    light: Tensor | None
    step: int
    negatives: tuple[Negative, ...] = ()
    source: Tensor | None = None


class Distillation(Guidance):
    """Base of the guidances that distil a score: a member says only what the gradient is.

    Args:
        prior: the 2D model.
        prompt: what it should look like.
        generator: of the times and the noise.
        negative_prompt: text of the unconditional branch, or of Perp-Neg: see `negative_weight`.
    """

    class Config(Guidance.Config):
        """`timesteps`: [low, high] shares of the schedule, a ramp, of which each view draws its own time;
        `dreamtime`: v1 or v2 takes DreamTime's falling schedule over `dreamtime_steps` steps instead; `clip`: clamp
        the clean guess to the range of pixels (no effect on latents); `drop_view`: the unconditional branch does not
        know the camera; `view_prompts`, where a prior has no camera input: true appends "front view" and the like,
        "blended" goes from one such text to the next with the azimuth, "perp_neg" also turns away from the other
        views; `negative_weight`: a ramp with which Perp-Neg turns away from the negative prompt, or null for a
        negative prompt that stands in the unconditional branch; `control`: what each of the prior's ControlNets is
        shown of the views, in their order, `hint` and `weight` (see `guidance.view_hints`)."""

        timesteps: RampField = Ramp([0.02, 0.98])
        dreamtime: Literal["v1", "v2"] | None = None
        dreamtime_steps: int = Field(200, ge=1)
        clip: bool = True
        drop_view: bool = False
        view_prompts: bool | Literal["blended", "perp_neg"] = True
        negative_weight: NumberRampField | None = None
        control: tuple[HintConfig, ...] = ()

        @field_validator("timesteps")
        @classmethod
        def _range(cls, ramp: Ramp) -> Ramp:
            for value in ramp.values:
                if not isinstance(value, (list, tuple)) or len(value) != 2 or not 0 <= value[0] <= value[1] <= 1:
                    raise ValueError("timesteps are two shares of the schedule, 0 <= low <= high <= 1")
            return ramp

    def __init__(
        self, config: Any = None, *, prior: Prior, prompt: str, generator: torch.Generator, negative_prompt: str = ""
    ) -> None:
        super().__init__(config)
        # In a tuple, so that the prior's weights are not parameters of the guidance, nor part of a checkpoint.
        self._prior = (prior,)
        self.prompt, self.negative_prompt, self.generator = prompt, negative_prompt, generator
        networks = len(getattr(prior, "controls", ()))
        if len(self.config.control) > networks:
            raise UserError(
                f"guidance {self.kind!r} has {len(self.config.control)} hints for a prior with {networks} ControlNets; "
                "prior.control names them"
            )
        self._times = None if self.config.dreamtime is None else time_weights(prior.schedule, self.config.dreamtime)

    @property
    def prior(self) -> Prior:
        return self._prior[0]

    @property
    def sees_normals(self) -> bool:
        return any(section.hint == "normal" for section in self.config.control)

    @abstractmethod
    def gradient(self, sight: Sight) -> tuple[Tensor, Prediction]:
        """The gradient with respect to x [B, c, h, w], and the prediction that a preview shows; no graph is built."""

    def lesson(self, sight: Sight) -> Tensor | None:
        """A loss of the guidance's own parameters, where it has some."""
        return None

    def forward(self, rendering: Rendering, cameras: Cameras, step: int, preview: bool = False) -> GuidanceOutput:
        x = self.prior.encode(shown(rendering, self.prior))
        t = self.draw_timesteps(len(x), step).to(x.device)
        noise = standard_normal(x, self.generator)
        light = rendering.extras.get("light")
        condition, negatives = self.condition(cameras, light), self.negatives(cameras, light, step)
        hints = view_hints(rendering, cameras, self.prior, self.config.control, step)
        if hints:
            condition = hinted(condition, hints)
            negatives = tuple((hinted(away, hints), weight) for away, weight in negatives)
        sight = Sight(x.detach(), t, noise, condition, cameras, light, step, negatives, self.source(rendering))
        with torch.no_grad():
            gradient, prediction = self.gradient(sight)
        loss = self.config.weight.at(step) * surrogate_loss(x, gradient)
        metrics = {"grad_norm": float(gradient.flatten(1).norm(dim=1).mean()), "t": float(t.double().mean())}
        lesson = self.lesson(sight)
        if lesson is not None:
            loss, metrics = loss + lesson, metrics | {"lesson": lesson.item()}
        images = {"clean": presentable(self.prior, prediction.clean)} if preview else {}
        return GuidanceOutput(loss, gradient, metrics, images)

    @torch.no_grad()
    def source(self, rendering: Rendering) -> Tensor | None:
        """The scene that is edited, as it was, in the prior's space, from `extras["source"]`."""
        before = rendering.extras.get("source")
        return None if before is None else self.prior.encode(shown(before, self.prior))

    def draw_timesteps(self, batch: int, step: int) -> Tensor:
        """One time for each view, [batch]: uniform over the range that holds at `step`, both ends included, or
        DreamTime's for all. Views that the prior denoises together share theirs."""
        if self._times is not None:
            t = scheduled_time(self._times, min(step, self.config.dreamtime_steps - 1), self.config.dreamtime_steps)
            return torch.full((batch,), t, device=self.generator.device)
        low, high = (self.prior.schedule.fraction(share) for share in self.config.timesteps.at(step))
        each = (batch // self.prior.together,)
        times = torch.randint(low, high + 1, each, generator=self.generator, device=self.generator.device)
        return times.repeat_interleave(self.prior.together)

    def condition(self, cameras: Cameras, light: Tensor | None = None, prompt: str | None = None) -> Condition:
        """The prompt, or another, seen from each camera: through the camera input, or in words where the prior has
        none."""
        prompt = self.prompt if prompt is None else prompt
        negative = self.negative_prompt if self.config.negative_weight is None else ""
        if self.prior.sees_cameras:
            return self.prior.condition(prompt, cameras, light, negative, drop_view=self.config.drop_view)
        how = self.config.view_prompts
        if how in ("blended", "perp_neg"):
            return blended(self.prior.condition(every_view(prompt), negative=negative), view_shares(cameras))
        prompts = view_prompts(prompt, cameras) if how else [prompt] * len(cameras)
        return self.prior.condition(prompts, negative=negative)

    def negatives(self, cameras: Cameras, light: Tensor | None, step: int) -> tuple[Negative, ...]:
        """What Perp-Neg turns away from: other views than a camera's own, and the negative prompt, each with its weight
        for every view, [B], negative."""
        told: list[Negative] = []
        sees, how, weight = self.prior.sees_cameras, self.config.view_prompts, self.config.negative_weight
        if how == "perp_neg" and not sees:
            front, side, *_ = every_view(self.prompt)
            weights = other_view_weights(cameras)
            told += [(self.prior.condition(text), weights[:, i]) for i, text in enumerate((front, side))]
        if weight is not None and self.negative_prompt:
            seen = (cameras, light) if sees else ()
            away = torch.full((len(cameras),), -weight.at(step))
            told.append((self.prior.condition(self.negative_prompt, *seen), away))
        return tuple(told)
