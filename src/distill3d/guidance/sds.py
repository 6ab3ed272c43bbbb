"""Score distillation sampling (Poole et al. 2023, "DreamFusion")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from distill3d.core.ramp import NumberRampField, Ramp
from distill3d.diffusion.condition import Condition
from distill3d.diffusion.perp_neg import Negative, turned
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.prior import Prior
from distill3d.guidance.distillation import Distillation, Sight
from distill3d.guidance.weighting import Weighting, weight


@torch.no_grad()
def look(
    prior: Prior,
    x: Tensor,
    t: Tensor,
    noise: Tensor,
    condition: Condition,
    cfg_scale: float,
    clip: bool = False,
    negatives: Sequence[Negative] = (),
) -> Prediction:
    """What the prior sees in `x` under noise, with guidance; without a graph.

    Args:
        x, noise: [B, c, h, w].
        t: [B].
        clip: whether the clean picture is clamped to the prior's limits (pixels have some, latents none).
        negatives: prompts to turn away from, by Perp-Neg.
    """
    x_t = prior.schedule.add_noise(x, noise, t)
    prediction = turned(prior, x_t, t, condition, cfg_scale, negatives)
    return prediction.clipped(prior.clip_range) if clip else prediction


def clean_residual(prediction: Prediction, x: Tensor) -> Tensor:
    """`x - x0_hat`: the pull towards the prior's guess of the clean picture, the same at every noise level.

    Since `x_t = alpha x + sigma e = alpha x0_hat + sigma e_hat`, the noise residual is
    `e_hat - e = (alpha / sigma) (x - x0_hat)`. So this is the noise residual with w = sigma / alpha, computed
    without the division (alpha may be 0), and "sds" in turn weighs it by alpha sigma.
    """
    return x.detach() - prediction.clean


def residual(prediction: Prediction, x: Tensor, noise: Tensor, weighting: Weighting) -> Tensor:
    """`w(t) (e_hat - e)`, the gradient that a prediction stands for (Poole et al. 2023, eq. 3), [B, c, h, w]."""
    if weighting == "clean":
        return clean_residual(prediction, x)
    return weight(prediction, weighting) * (prediction.noise - noise)


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
        weighting: see `guidance.weighting`; "clean" is `clean_residual`.
    Returns:
        [B, c, h, w]. The network's Jacobian is dropped: no gradient flows through the prior.
    """
    return residual(look(prior, x, t, noise, condition, cfg_scale, clip), x, noise, weighting)


class SDS(Distillation):
    """DreamFusion's guidance: each view is noised at its own random time, and pulled where the prior points."""

    kind: ClassVar[str] = "sds"

    class Config(Distillation.Config):
        """As for every distillation; `cfg_scale`: s in e_0 + s (e_c - e_0), a ramp; `weighting`: sds, uniform and
        fantasia3d weigh the noise residual, clean pulls towards the clean guess."""

        cfg_scale: NumberRampField = Ramp(100.0)
        weighting: Weighting = "sds"

    def gradient(self, sight: Sight) -> tuple[Tensor, Prediction]:
        config, scale = self.config, self.config.cfg_scale.at(sight.step)
        seen = (self.prior, sight.x, sight.t, sight.noise, sight.condition)
        prediction = look(*seen, scale, config.clip, sight.negatives)
        return residual(prediction, sight.x, sight.noise, config.weighting), prediction
