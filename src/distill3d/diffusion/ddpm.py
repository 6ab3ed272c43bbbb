"""Ancestral sampling (Ho et al. 2020), and the sampler that a slip of the pen makes of it."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.diffusion.learned_variance import UncertainPrediction, learned_std
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.walk import Callback, Constraint, Denoiser, Limits, Randomness, column, standard_normal, walk

Variance = Literal["small", "large", "learned"]


def ddpm(
    schedule: NoiseSchedule,
    denoise: Denoiser,
    x: Tensor,
    times: list[int],
    variance: Variance = "small",
    clip: Limits = None,
    generator: Randomness = None,
    callback: Callback | None = None,
    constrain: Constraint | None = None,
) -> Tensor:
    """Ancestral sampling (Ho et al. 2020, algorithm 2) over any falling `times`.

    Args:
        variance: of the noise added on the way to s: "small" is that of q(x_s | x_t, x_0), "large" that of
            q(x_t | x_s), the two bounds of section 3.2; "learned" lies between, where the denoiser says (Nichol and
            Dhariwal 2021). The step to the clean end adds none.
        x: [B, ...], noise at times[0].
        denoise, times, clip, callback, constrain: as for `walk`.
    Raises:
        UserError: a learned variance from a denoiser that says none.
    """

    def step(prediction: Prediction, t: Tensor, s: Tensor) -> Tensor:
        if variance == "learned" and not isinstance(prediction, UncertainPrediction):
            raise UserError("this prior says no variance, which the sampler ddpm-learned needs; ddpm fixes it")
        mean, std = schedule.posterior(prediction.x_t, prediction.clean, t, s)
        if bool((s < 0).all()):
            return mean
        if variance == "large":
            std = column(schedule.step_variance(t, s).sqrt(), mean)
        elif isinstance(prediction, UncertainPrediction) and variance == "learned":
            std = learned_std(schedule, prediction.share, t, s)
        return mean + std * standard_normal(mean, generator)

    return walk(step, denoise, x, times, clip, callback, constrain)


def renoise(
    schedule: NoiseSchedule,
    denoise: Denoiser,
    x: Tensor,
    times: list[int],
    clip: Limits = None,
    generator: Randomness = None,
    callback: Callback | None = None,
    constrain: Constraint | None = None,
) -> Tensor:
    """Predict the clean picture and noise it afresh to the next level: x_s = alpha_s x_0 + sigma_s z.

    The tutorial prints this kernel as DDPM's; it is not (its standard deviation sigma_s is above that of any eta up
    to 1), but the sampler of consistency models (Song et al. 2023), whose x_0 is a sample. Of a denoiser, whose x_0 is
    a mean, it loses half of the variance of Gaussian data however many steps are taken. Arguments as for `ddpm`.
    """

    def step(prediction: Prediction, t: Tensor, s: Tensor) -> Tensor:
        if bool((s < 0).all()):
            return prediction.clean
        return schedule.add_noise(prediction.clean, standard_normal(prediction.clean, generator), s)

    return walk(step, denoise, x, times, clip, callback, constrain)
