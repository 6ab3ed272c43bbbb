"""Score distillation sampling (Poole et al. 2023, "DreamFusion")."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import field_validator
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.ramp import NumberRampField, Ramp, RampField
from distill3d.core.rendering import Rendering
from distill3d.diffusion.condition import Condition
from distill3d.diffusion.guided import guided
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.prior import Prior
from distill3d.diffusion.sampling import standard_normal
from distill3d.guidance.base import Guidance, GuidanceOutput
from distill3d.guidance.pictures import presentable, shown
from distill3d.guidance.surrogate import surrogate_loss
from distill3d.guidance.view_prompts import view_prompts

Weighting = Literal["sds", "uniform", "fantasia3d", "clean"]


@torch.no_grad()
def look(
    prior: Prior, x: Tensor, t: Tensor, noise: Tensor, condition: Condition, cfg_scale: float, clip: bool = False
) -> Prediction:
    """What the prior sees in `x` under noise, with guidance; without a graph.

    Args:
        x, noise: [B, c, h, w].
        t: [B].
        clip: whether the clean picture is clamped to the prior's limits (pixels have some, latents none).
    """
    x_t = prior.schedule.add_noise(x, noise, t)
    prediction = guided(prior, x_t, t, condition, cfg_scale)
    return prediction.clipped(prior.clip_range) if clip else prediction


def noise_residual(prediction: Prediction, noise: Tensor, weighting: Weighting = "sds") -> Tensor:
    """`w(t) (e_hat - e)` (Poole et al. 2023, eq. 3), [B, c, h, w].

    Weighting "sds" has w = sigma^2, "uniform" w = 1, "fantasia3d" w = alpha sigma^2 (Chen et al. 2023).
    """
    w = {
        "sds": prediction.sigma**2,
        "uniform": torch.ones_like(prediction.sigma),
        "fantasia3d": prediction.alpha * prediction.sigma**2,
    }[weighting]
    return w * (prediction.noise - noise)


def clean_residual(prediction: Prediction, x: Tensor) -> Tensor:
    """`x - x0_hat`: the pull towards the prior's guess of the clean picture, the same at every noise level.

    Since `x_t = alpha x + sigma e = alpha x0_hat + sigma e_hat`, the noise residual is
    `e_hat - e = (alpha / sigma) (x - x0_hat)`. So this is the noise residual with w = sigma / alpha, computed
    without the division (alpha may be 0), and "sds" in turn weighs it by alpha sigma.
    """
    return x.detach() - prediction.clean


def sds(
    prior: Prior,
    x: Tensor,
    t: Tensor,
    noise: Tensor,
    condition: Condition,
    cfg_scale: float,
    weighting: Weighting = "sds",
    clip: bool = False,
) -> Tensor:
    """Gradient of score distillation sampling with respect to `x` (Poole et al. 2023, eq. 3).

    Args:
        x: rendered pictures in the prior's space, [B, c, h, w].
        t, noise: one timestep for each picture, [B], and its noise, [B, c, h, w].
        cfg_scale: as for `guided`: `e_hat = e_0 + s (e_c - e_0)`.
        weighting: "clean" is `clean_residual`, the others are weights of `noise_residual`.
    Returns:
        [B, c, h, w]. The network's Jacobian is dropped: no gradient flows through the prior.
    """
    prediction = look(prior, x, t, noise, condition, cfg_scale, clip)
    return residual(prediction, x, noise, weighting)


def residual(prediction: Prediction, x: Tensor, noise: Tensor, weighting: Weighting) -> Tensor:
    """The gradient that a prediction stands for under a weighting."""
    return clean_residual(prediction, x) if weighting == "clean" else noise_residual(prediction, noise, weighting)


class SDS(Guidance):
    """DreamFusion's guidance: each view is noised at its own random time, and pulled where the prior points.

    Args:
        prior: the 2D model.
        prompt: what it should look like.
        generator: of the times and the noise.
        negative_prompt: text of the unconditional branch.
    """

    kind: ClassVar[str] = "sds"

    class Config(Guidance.Config):
        """`cfg_scale`: s in e_0 + s (e_c - e_0), a ramp; `timesteps`: [low, high] shares of the schedule, a ramp;
        `weighting`: sds, uniform and fantasia3d weigh the noise residual, clean pulls towards the clean guess;
        `clip`: clamp that guess to the range of pixels (no effect on latents); `drop_view`: the unconditional
        branch does not know the camera; `view_prompts`: append "front view" where a prior has no camera input."""

        cfg_scale: NumberRampField = Ramp(100.0)
        timesteps: RampField = Ramp([0.02, 0.98])
        weighting: Weighting = "sds"
        clip: bool = True
        drop_view: bool = False
        view_prompts: bool = True

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

    @property
    def prior(self) -> Prior:
        return self._prior[0]

    def forward(self, rendering: Rendering, cameras: Cameras, step: int, preview: bool = False) -> GuidanceOutput:
        config, prior = self.config, self.prior
        x = prior.encode(shown(rendering, prior))
        t = self.draw_timesteps(len(x), step).to(x.device)
        noise = standard_normal(x, self.generator)
        condition = self.condition(cameras, rendering.extras.get("light"))
        prediction = look(prior, x, t, noise, condition, config.cfg_scale.at(step), config.clip)
        gradient = residual(prediction, x, noise, config.weighting)
        return GuidanceOutput(
            loss=config.weight.at(step) * surrogate_loss(x, gradient),
            gradient=gradient,
            metrics={"grad_norm": float(gradient.flatten(1).norm(dim=1).mean()), "t": float(t.double().mean())},
            images={"clean": presentable(prior, prediction.clean)} if preview else {},
        )

    def draw_timesteps(self, batch: int, step: int) -> Tensor:
        """One time for each view, [batch], uniform over the range that holds at `step`, both ends included."""
        low, high = (self.prior.schedule.fraction(share) for share in self.config.timesteps.at(step))
        return torch.randint(low, high + 1, (batch,), generator=self.generator, device=self.generator.device)

    def condition(self, cameras: Cameras, light: Tensor | None = None) -> Condition:
        """The prompt seen from each camera: through the camera input, or in words where the prior has none."""
        if self.prior.sees_cameras:
            drop = self.config.drop_view
            return self.prior.condition(self.prompt, cameras, light, self.negative_prompt, drop_view=drop)
        prompts = view_prompts(self.prompt, cameras) if self.config.view_prompts else [self.prompt] * len(cameras)
        return self.prior.condition(prompts, negative=self.negative_prompt)
