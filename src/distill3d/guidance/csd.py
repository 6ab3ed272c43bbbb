"""Classifier score distillation (Yu et al. 2024, "Text-to-3D with Classifier Score Distillation")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from distill3d.core.ramp import NumberRampField, Ramp
from distill3d.diffusion.condition import Condition
from distill3d.diffusion.guided import branches
from distill3d.diffusion.perp_neg import Negative, turned
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.prior import Prior
from distill3d.guidance.distillation import Distillation, Sight
from distill3d.guidance.sds import residual
from distill3d.guidance.weighting import Weighting, difference


@torch.no_grad()
def csd(
    prior: Prior,
    x: Tensor,
    t: Tensor,
    noise: Tensor,
    condition: Condition,
    text: float = 1.0,
    generative: float = 0.0,
    weighting: Weighting = "sds",
    negatives: Sequence[Negative] = (),
) -> tuple[Tensor, Prediction]:
    """Gradient of classifier score distillation with respect to `x`: `w(t) (text (e_c - e_0) + generative (e_0 - e))`.

    The two parts of SDS, weighed apart: with scale s, SDS is text = s and generative = 1. The first part is
    -w sigma grad log p(c | x_t), the implicit classifier (eq. 7); alone it has no fixed point, it drifts outwards.

    Args:
        x, noise: [B, c, h, w]. t: [B].
        condition: with its unconditional branch e_0, which is the negative prompt where there is one.
        negatives: prompts to turn away from: e_c is then what Perp-Neg makes of it at scale 1.
    Returns:
        [B, c, h, w] without a graph, and the conditional prediction.
    """
    if condition.unconditional is None:
        raise ValueError("classifier score distillation needs a condition that knows its unconditional branch")
    x_t = prior.schedule.add_noise(x, noise, t)
    told, untold = branches(prior, x_t, t, [condition, condition.unconditional])
    if negatives:
        told = turned(prior, x_t, t, condition, 1.0, negatives)
    gradient = text * difference(told, untold, weighting)
    if generative:
        gradient = gradient + generative * residual(untold, x, noise, weighting)
    return gradient, told


class CSD(Distillation):
    """The classifier's part of SDS, and as much of the generative part as wanted."""

    kind: ClassVar[str] = "csd"

    class Config(Distillation.Config):
        """As for every distillation; `text` and `generative` weigh e_c - e_0 and e_0 - e, ramps."""

        text: NumberRampField = Ramp(1.0)
        generative: NumberRampField = Ramp(0.0)
        weighting: Weighting = "sds"

    def gradient(self, sight: Sight) -> tuple[Tensor, Prediction]:
        config = self.config
        weights = config.text.at(sight.step), config.generative.at(sight.step)
        return csd(
            self.prior, sight.x, sight.t, sight.noise, sight.condition, *weights, config.weighting, sight.negatives
        )
