"""Denoising diffusion implicit models (Song et al. 2021): few steps, and as much fresh noise as one likes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.walk import Callback, Constraint, Denoiser, Limits, Randomness, column, standard_normal, walk

Eta = float | Literal["sigma-hat"]


def ddim_step(schedule: NoiseSchedule, prediction: Prediction, t: Tensor, s: Tensor, eta: Eta, z: Tensor) -> Tensor:
    """x_s from a prediction at t (Song et al. 2021, eq. 12): `alpha_s x_0 + sqrt(sigma_s^2 - std^2) e + std z`.

    std is `sigma_eta`, eta times the posterior's. With eta "sigma-hat" the mean is that of eta 1, and z is multiplied
    by the larger sqrt(1 - alpha_bar_t / alpha_bar_s) (their table 1); the step to the clean end adds nothing.
    `s` may also be later than t with eta 0, which is DDIM inversion. t and s are [B], z is shaped like x.
    """
    alpha, sigma = schedule.at(s, prediction.x_t)
    if eta == 0:
        return alpha * prediction.clean + sigma * prediction.noise
    std = column(schedule.sigma_eta(t, s, 1.0 if isinstance(eta, str) else eta), prediction.x_t)
    mean = alpha * prediction.clean + (sigma**2 - std**2).clamp(min=0).sqrt() * prediction.noise
    if eta == "sigma-hat":
        std = column(schedule.step_variance(t, s).sqrt() * (s.cpu() >= 0), prediction.x_t)
    return mean + std * z


def ddim(
    schedule: NoiseSchedule,
    denoise: Denoiser,
    x: Tensor,
    times: list[int],
    eta: Eta = 0.0,
    clip: Limits = None,
    generator: Randomness = None,
    callback: Callback | None = None,
    constrain: Constraint | None = None,
) -> Tensor:
    """DDIM from `x` at the first of `times` down to the last; eta 1 is ancestral sampling, 0 draws nothing.

    Args:
        denoise: called once a step.
        x: [B, ...], noise at times[0].
        times, clip, callback, constrain: as for `walk`.
        generator: for eta other than 0.
    """

    def step(prediction: Prediction, t: Tensor, s: Tensor) -> Tensor:
        drawn = eta != 0 and bool((s >= 0).all())
        z = standard_normal(prediction.x_t, generator) if drawn else torch.zeros_like(prediction.x_t)
        return ddim_step(schedule, prediction, t, s, eta, z)

    return walk(step, denoise, x, times, clip, callback, constrain)
