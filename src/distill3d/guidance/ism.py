"""Interval score matching (Liang et al. 2024, "LucidDreamer")."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from distill3d.core.ramp import NumberRampField, Ramp, RampField
from distill3d.diffusion.condition import Condition
from distill3d.diffusion.guided import guided
from distill3d.diffusion.perp_neg import Negative, turned
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.prior import Prior
from distill3d.diffusion.sampling import ddim_step
from distill3d.guidance.distillation import Distillation, Sight
from distill3d.guidance.weighting import Weighting, weight


@torch.no_grad()
def invert_to(
    prior: Prior, x: Tensor, s: Tensor, noise: Tensor, empty: Condition, stride: int, steps: int
) -> tuple[Tensor, Prediction]:
    """x_s by DDIM inversion of the clean `x` without text, and what is predicted there.

    The inversion begins `steps` strides before s, at time 0 at the earliest, from `x` under `noise`.

    Args:
        x, noise: [B, c, h, w]; zero noise makes it deterministic, as in the paper (the authors' code adds some).
        s: [B], each its own.
        empty: the unconditional branch.
    """
    path = [(s - stride * k).clamp(min=0) for k in range(steps, -1, -1)]
    x_s = prior.schedule.add_noise(x, noise, path[0])
    for here, there in itertools.pairwise(path):
        if bool((here == there).all()):
            continue
        x_s = ddim_step(prior.schedule, guided(prior, x_s, here, empty, 1.0), here, there, 0.0, x_s)
    return x_s, guided(prior, x_s, s, empty, 1.0)


@torch.no_grad()
def ism(
    prior: Prior,
    x: Tensor,
    t: Tensor,
    s: Tensor,
    noise: Tensor,
    condition: Condition,
    cfg_scale: float,
    weighting: Weighting = "clean",
    stride: int = 200,
    steps: int = 5,
    negatives: Sequence[Negative] = (),
) -> tuple[Tensor, Prediction]:
    """Gradient of interval score matching with respect to `x`: `w(t) (e(x_t, t, y) - e(x_s, s))` (eq. 17).

    x_s comes from `invert_to`, x_t from x_s by one more inversion step, so that both noises belong to one
    trajectory of the picture and there is no fresh noise to average away. With lambda = sigma / alpha, one step back
    from x_t lands at x_s', and the gradient is -w (x_s' - x_s) / (alpha_s (lambda_t - lambda_s)): the residual of the
    round trip.

    Args:
        x, noise: [B, c, h, w]. t, s: [B], s < t.
        condition: with its unconditional branch. cfg_scale: of e(x_t, t, y).
        weighting: "clean", sigma / alpha, is that of the authors' code.
        stride, steps: of the inversion to s.
        negatives: prompts that e(x_t, t, y) turns away from, by Perp-Neg.
    Returns:
        [B, c, h, w] without a graph, and the guided prediction at t.
    """
    if condition.unconditional is None:
        raise ValueError("interval score matching needs a condition that knows its unconditional branch")
    x_s, before = invert_to(prior, x, s, noise, condition.unconditional, stride, steps)
    x_t = ddim_step(prior.schedule, before, s, t, 0.0, x_s)
    after = turned(prior, x_t, t, condition, cfg_scale, negatives)
    return weight(after, weighting) * (after.noise - before.noise), after


class ISM(Distillation):
    """LucidDreamer's guidance."""

    kind: ClassVar[str] = "ism"

    class Config(Distillation.Config):
        """As for every distillation; `cfg_scale` of the later time; `interval`: t - s, a share of the schedule, a ramp;
        `stride` and `inversion_steps` of the inversion to s; `noise_scale`: of the noise that it begins with, 0 makes
        the gradient a function of the picture alone."""

        cfg_scale: NumberRampField = Ramp(7.5)
        timesteps: RampField = Ramp({0: [0.02, 0.98], 1500: [0.02, 0.5]})
        interval: NumberRampField = Ramp({0: 0.1, 1500: 0.08})
        stride: int = Field(200, ge=1)
        inversion_steps: int = Field(5, ge=0, le=100)
        noise_scale: float = Field(1.0, ge=0)
        weighting: Weighting = "clean"

    def gradient(self, sight: Sight) -> tuple[Tensor, Prediction]:
        config, step = self.config, sight.step
        t = sight.t.clamp(min=1)
        s = (t - max(1, self.prior.schedule.fraction(config.interval.at(step)))).clamp(min=0)
        return ism(
            self.prior,
            sight.x,
            t,
            s,
            config.noise_scale * sight.noise,
            sight.condition,
            config.cfg_scale.at(step),
            config.weighting,
            config.stride,
            config.inversion_steps,
            sight.negatives,
        )
