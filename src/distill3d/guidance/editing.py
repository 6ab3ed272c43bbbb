"""The guidances of edits: what a sentence says of a scene, against what another says of the scene as it was."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.core.ramp import NumberRampField, Ramp
from distill3d.diffusion.condition import Condition, hinted
from distill3d.diffusion.guided import guided
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.prior import Prior
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.guidance.distillation import Distillation, Sight
from distill3d.guidance.posterior import Reading, identity_weights
from distill3d.guidance.weighting import Weighting, weight


class Editing(Distillation):
    """Base of the guidances that know the scene before the edit: `rendering.extras["source"]`, the same views of it.

    Args:
        source_prompt: what the scene was.
        prompt: what it should become.
    """

    def __init__(
        self, config: Any = None, *, prior: Prior, prompt: str, source_prompt: str = "", **context: Any
    ) -> None:
        super().__init__(config, prior=prior, prompt=prompt, **context)
        self.source_prompt = source_prompt

    def both(self, sight: Sight, cfg_scale: float, clip: bool) -> tuple[Prediction, Prediction]:
        """What the prior sees in the edited views under the new text, and in the former ones under the former text, at
        the same times under the same noise.

        Raises:
            UserError: there is no source: this guidance edits.
        """
        if sight.source is None:
            raise UserError(f"guidance {self.kind!r} edits a scene: distill3d edit SOURCE BEFORE AFTER")
        before = hinted(self.condition(sight.cameras, sight.light, self.source_prompt), sight.condition.control)
        pictures, texts = (sight.x, sight.source), (sight.condition, before)
        return seen_in_both(self.prior, pictures, sight.t, sight.noise, texts, cfg_scale, clip)


@torch.no_grad()
def seen_in_both(
    prior: Prior,
    pictures: tuple[Tensor, Tensor],
    t: Tensor,
    noise: Tensor,
    texts: tuple[Condition, Condition],
    cfg_scale: float,
    clip: bool = False,
) -> tuple[Prediction, Prediction]:
    """What the prior sees in target and source, each under its text, at the same times under the same noise.

    Args:
        pictures: target and source in the prior's space, [B, c, h, w] each. t: [B]. noise: [B, c, h, w].
        texts: of target and source, with their unconditional branches.
        clip: whether clean pictures are clamped to the prior's limits.
    """
    seen = []
    for x, condition in zip(pictures, texts, strict=True):
        prediction = guided(prior, prior.schedule.add_noise(x, noise, t), t, condition, cfg_scale)
        seen.append(prediction.clipped(prior.clip_range) if clip else prediction)
    return seen[0], seen[1]


def delta(x: Tensor, source: Tensor, target: Prediction, reference: Prediction, weighting: Weighting) -> Tensor:
    """`w(t) (e_target - e_reference)` (Hertz et al. 2023, eq. 3), [B, c, h, w]; "clean" by `delta_of_clean`."""
    if weighting == "clean":
        return delta_of_clean(x, source, target, reference)
    return weight(target, weighting) * (target.noise - reference.noise)


def way_back(schedule: NoiseSchedule, t: Tensor, weighting: Weighting, stride: int, reading: Reading) -> Tensor:
    """What PDS multiplies the distance to the source by, where the `delta` beside it has that weighting, [B] float64.

    psi / chi beside a difference of noises ("uniform"), psi sigma / (alpha chi) beside one of clean pictures ("clean");
    see `posterior.identity_weights`.
    """
    psi, chi = identity_weights(schedule, t, stride, reading)
    if weighting == "uniform":
        return psi / chi
    alpha, sigma = schedule.at(t.cpu(), psi)
    return psi * sigma / (alpha * chi)


def delta_of_clean(x: Tensor, source: Tensor, target: Prediction, reference: Prediction) -> Tensor:
    """`sigma / alpha (e_target - e_reference)`, computed without the division by alpha, which may be 0.

    Both were noised by one noise, `x_t = alpha x + sigma e`, so it is `(x - source) - (x0_target - x0_reference)`.
    """
    return (x - source) - (target.clean - reference.clean)


class DDS(Editing):
    """Delta denoising score (Hertz et al. 2023, eq. 3): see `guidance.delta`."""

    kind: ClassVar[str] = "dds"

    class Config(Editing.Config):
        """As for every distillation; `cfg_scale`: of both branches, a ramp; `weighting` of the difference of noises:
        uniform is the paper's, clean makes it one of clean pictures."""

        cfg_scale: NumberRampField = Ramp(7.5)
        weighting: Weighting = "uniform"

    def gradient(self, sight: Sight) -> tuple[Tensor, Prediction]:
        config = self.config
        target, reference = self.both(sight, config.cfg_scale.at(sight.step), config.clip)
        assert sight.source is not None
        return delta(sight.x, sight.source, target, reference, config.weighting), target


class PDS(Editing):
    """Posterior distillation sampling (Koo et al. 2024, eq. 12): see `guidance.posterior`."""

    kind: ClassVar[str] = "pds"

    class Config(Editing.Config):
        """As for every distillation; `cfg_scale`: of both branches, a ramp; `reading`: "strided", as released, in which
        views are drawn back to the source, or "exact", in which that identity term is zero; `stride`: in times of the
        schedule; `identity`: a factor on that term, 1 as published; `per_clean`: divide by the weight of the difference
        of clean pictures, so that both terms count the same at every time."""

        cfg_scale: NumberRampField = Ramp(100.0)
        reading: Reading = "strided"
        stride: int = Field(2, ge=1, le=500)
        identity: float = Field(1.0, ge=0)
        per_clean: bool = False

    def draw_timesteps(self, batch: int, step: int) -> Tensor:
        return super().draw_timesteps(batch, step).clamp(min=self.config.stride)

    def gradient(self, sight: Sight) -> tuple[Tensor, Prediction]:
        config = self.config
        target, reference = self.both(sight, config.cfg_scale.at(sight.step), config.clip)
        assert sight.source is not None
        shape, back = (-1, *[1] * (sight.x.ndim - 1)), sight.x - sight.source
        if config.per_clean:
            share = way_back(self.prior.schedule, sight.t, "clean", config.stride, config.reading)
            share = (config.identity * share).reshape(shape).to(back)
            return share * back + delta_of_clean(sight.x, sight.source, target, reference), target
        weights = identity_weights(self.prior.schedule, sight.t, config.stride, config.reading)
        psi, chi = (config.identity * weights[0]).reshape(shape), weights[1].reshape(shape)
        return psi.to(back) * back + chi.to(back) * (target.noise - reference.noise), target
