"""The same process in continuous time (Song et al. 2021, "Score-based generative modeling through SDEs").

The forward process is dx = f x dt + g dw with f = d log(alpha) / dt and g^2 = d sigma^2 / dt - 2 f sigma^2, which for a
variance-preserving schedule is f = -beta / 2 and g^2 = beta. It is run backwards by

    dx = (f x - g^2 score) dt + g dw        the reverse SDE (their eq. 6)
    dx = (f x - g^2 score / 2) dt           the probability-flow ODE (their eq. 13), with the same marginals

where score is the gradient of log p_t(x_t): of the noisy data, not of p(x_0) as a slide of the tutorial has it. DDPM
and DDIM are better steps of the same two equations; these are here to be read, and to check those against.
"""

from __future__ import annotations

from torch import Tensor

from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.walk import Callback, Denoiser, Limits, Randomness, column, everywhere, standard_normal, walk


def coefficients(schedule: NoiseSchedule, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """f and g^2 integrated from s to t, [B] float64 each: log(alpha_t / alpha_s), and the variance of q(x_t | x_s)."""
    like = schedule.alpha[:, None]
    (alpha_t, _), (alpha_s, _) = schedule.at(t.cpu(), like), schedule.at(s.cpu(), like)
    return (alpha_t.log() - alpha_s.log()).flatten(), schedule.step_variance(t, s)


def reverse_sde_step(schedule: NoiseSchedule, prediction: Prediction, t: Tensor, s: Tensor, z: Tensor) -> Tensor:
    """One Euler-Maruyama step of the reverse SDE: x_t - f x_t + g^2 score + g z; t and s [B], z shaped like x."""
    f, g2 = (column(c, prediction.x_t) for c in coefficients(schedule, t, s))
    return prediction.x_t - f * prediction.x_t + g2 * prediction.score + g2.sqrt() * z


def flow_step(schedule: NoiseSchedule, prediction: Prediction, t: Tensor, s: Tensor) -> Tensor:
    """One Euler step of the probability-flow ODE: x_t - f x_t + g^2 score / 2."""
    f, g2 = (column(c, prediction.x_t) for c in coefficients(schedule, t, s))
    return prediction.x_t - f * prediction.x_t + 0.5 * g2 * prediction.score


def reverse_sde(
    schedule: NoiseSchedule,
    denoise: Denoiser,
    x: Tensor,
    times: list[int],
    clip: Limits = None,
    generator: Randomness = None,
    callback: Callback | None = None,
) -> Tensor:
    """The reverse SDE by Euler and Maruyama; needs hundreds of steps. The last step adds no noise.

    Arguments as for `walk`.

    Raises:
        ValueError: a start without signal, where the drift is infinite.
    """
    _finite(schedule, x, times)

    def step(prediction: Prediction, t: Tensor, s: Tensor) -> Tensor:
        z = standard_normal(x, generator) if bool((s >= 0).all()) else x.new_zeros(x.shape)
        return reverse_sde_step(schedule, prediction, t, s, z)

    return walk(step, denoise, x, times, clip, callback)


def probability_flow(
    schedule: NoiseSchedule,
    denoise: Denoiser,
    x: Tensor,
    times: list[int],
    clip: Limits = None,
    callback: Callback | None = None,
) -> Tensor:
    """The probability-flow ODE by Euler's method in time; `ddim` and `heun` solve the same ODE with far fewer steps.

    Arguments as for `walk`.

    Raises:
        ValueError: a start without signal, where the drift is infinite.
    """
    _finite(schedule, x, times)
    return walk(lambda p, t, s: flow_step(schedule, p, t, s), denoise, x, times, clip, callback)


def _finite(schedule: NoiseSchedule, x: Tensor, times: list[int]) -> None:
    if bool((schedule.at(everywhere(times[0], x), x)[0] == 0).any()):
        raise ValueError(f"the drift is infinite at t = {times[0]}, where no signal is left; start one step later")
