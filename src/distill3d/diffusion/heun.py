"""The probability-flow ODE by Heun's method (Karras et al. 2022)."""

from __future__ import annotations

from torch import Tensor

from distill3d.diffusion.ddim import ddim_step
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.walk import Callback, Constraint, Denoiser, Limits, Randomness, walk


def heun(
    schedule: NoiseSchedule,
    denoise: Denoiser,
    x: Tensor,
    times: list[int],
    clip: Limits = None,
    generator: Randomness = None,
    callback: Callback | None = None,
    constrain: Constraint | None = None,
) -> Tensor:
    """Second order, two calls of `denoise` a step but one in the last (Karras et al. 2022, algorithm 1).

    In u = x / alpha and r = sigma / alpha the probability-flow ODE of every schedule is du / dr = e(x, t). DDIM is its
    Euler step; Heun's takes the mean of e at both ends of that step. From a time without signal, where r is infinite,
    and to the clean end, where the denoiser is not asked, it stays with Euler. Deterministic: `generator` is not used.
    Arguments as for `walk`.
    """

    def step(prediction: Prediction, t: Tensor, s: Tensor) -> Tensor:
        x_s = ddim_step(schedule, prediction, t, s, 0.0, prediction.x_t)
        if bool((s < 0).all()) or bool((prediction.alpha == 0).all()):
            return x_s
        there = denoise(x_s, s).clipped(clip)
        noise = 0.5 * (prediction.noise + there.noise)
        mean = Prediction.of("noise", noise, prediction.x_t, prediction.alpha, prediction.sigma)
        return ddim_step(schedule, mean, t, s, 0.0, mean.x_t)

    return walk(step, denoise, x, times, clip, callback, constrain)
