"""Euler's method along the straight paths of a flow model (Liu et al. 2023)."""

from __future__ import annotations

from torch import Tensor

from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.walk import Callback, Constraint, Denoiser, Limits, Randomness, walk


def euler_flow(
    schedule: NoiseSchedule,
    denoise: Denoiser,
    x: Tensor,
    times: list[int],
    clip: Limits = None,
    generator: Randomness = None,
    callback: Callback | None = None,
    constrain: Constraint | None = None,
) -> Tensor:
    """x_s = x_t + (sigma_s - sigma_t) (e - x_0), on a schedule with alpha = 1 - sigma, where it is DDIM to the letter.

    Deterministic: `generator` is not used. Arguments as for `walk`.

    Raises:
        ValueError: a schedule whose paths are not straight; there the flow is not dx / dsigma.
    """
    if (schedule.alpha + schedule.sigma - 1).abs().max() > 1e-6:
        raise ValueError("euler_flow needs a rectified flow, alpha = 1 - sigma; use ddim or heun on other schedules")

    def step(prediction: Prediction, t: Tensor, s: Tensor) -> Tensor:
        _, sigma = schedule.at(s, prediction.x_t)
        return prediction.x_t + (sigma - prediction.sigma) * prediction.flow

    return walk(step, denoise, x, times, clip, callback, constrain)
