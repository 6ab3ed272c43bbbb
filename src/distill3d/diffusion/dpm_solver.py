"""DPM-Solver++ (Lu et al. 2022): the second order for the price of the first."""

from __future__ import annotations

import math

from torch import Tensor

from distill3d.diffusion.ddim import ddim_step
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.walk import Callback, Constraint, Denoiser, Limits, Randomness, walk


def dpm_solver(
    schedule: NoiseSchedule,
    denoise: Denoiser,
    x: Tensor,
    times: list[int],
    clip: Limits = None,
    generator: Randomness = None,
    callback: Callback | None = None,
    constrain: Constraint | None = None,
) -> Tensor:
    """DPM-Solver++ 2M (Lu et al. 2022, algorithm 2): the clean picture is extrapolated from the last two predictions.

    With lambda = log(alpha / sigma) and h the step in lambda, the step from t uses
    `D = x_0(t) + h / (2 h_before) (x_0(t) - x_0(before))` where DDIM uses x_0(t). The first step, steps from a time
    without signal and the step to the clean end, where lambda is infinite, are DDIM's. Deterministic: `generator` is
    not used. Arguments as for `walk`.
    """
    before: tuple[Tensor, float] | None = None  # the last clean prediction, and the step in lambda that it led to

    def step(prediction: Prediction, t: Tensor, s: Tensor) -> Tensor:
        nonlocal before
        h = 0.5 * float(schedule.log_snr(s[:1]) - schedule.log_snr(t[:1]))
        mixed = prediction
        if before is not None and math.isfinite(h) and math.isfinite(before[1]):
            clean = prediction.clean + h / (2 * before[1]) * (prediction.clean - before[0])
            mixed = Prediction.of("clean", clean, prediction.x_t, prediction.alpha, prediction.sigma)
        before = prediction.clean, h
        return ddim_step(schedule, mixed, t, s, 0.0, mixed.x_t)

    return walk(step, denoise, x, times, clip, callback, constrain)
