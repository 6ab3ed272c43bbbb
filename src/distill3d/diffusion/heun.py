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

    The probability-flow ODE of every schedule is dx = x_0(x, t) d alpha + e(x, t) d sigma. DDIM is its Euler step, and
    Heun's takes the means of x_0 and of e at both ends of that step. (Written in x / alpha, as usual, only e is left to
    be averaged; but its error is then divided by alpha, and near the noisy end nothing of the picture survives that.)
    From a time without signal, where a noise prediction says nothing of x_0, and to the clean end, where the denoiser
    is not asked, it stays with Euler. Deterministic: `generator` is not used.
    Arguments as for `walk`.
    """

    def step(prediction: Prediction, t: Tensor, s: Tensor) -> Tensor:
        x_s = ddim_step(schedule, prediction, t, s, 0.0, prediction.x_t)
        if bool((s < 0).all()) or bool((prediction.alpha == 0).all()):
            return x_s
        there = denoise(x_s, s).clipped(clip)
        alpha, sigma = schedule.at(s, x_s)
        clean, noise = 0.5 * (prediction.clean + there.clean), 0.5 * (prediction.noise + there.noise)
        return prediction.x_t + (alpha - prediction.alpha) * clean + (sigma - prediction.sigma) * noise

    return walk(step, denoise, x, times, clip, callback, constrain)
