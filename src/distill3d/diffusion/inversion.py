"""From a picture back to the noise that makes it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from distill3d.diffusion.condition import Condition
from distill3d.diffusion.ddim import ddim_step
from distill3d.diffusion.guided import guided_denoiser
from distill3d.diffusion.picture_space import to_space
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.prior import Prior
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.timesteps import timesteps
from distill3d.diffusion.walk import (
    Callback,
    Denoiser,
    Limits,
    Randomness,
    SamplingStep,
    everywhere,
    standard_normal,
    walk,
)


def ddim_invert(
    schedule: NoiseSchedule,
    denoise: Denoiser,
    x: Tensor,
    times: list[int],
    iterations: int = 1,
    clip: Limits = None,
    callback: Callback | None = None,
) -> Tensor:
    """The noise at times[0] from which `ddim` with eta 0 comes back to `x`, approached up the same times.

    A step from s up to t would need e(x_t, t), which is not known yet. Plain inversion (Dhariwal and Nichol 2021,
    appendix F) takes e(x_s, t), at the time where it is going: each picture comes back with an error that falls like
    1 / steps. With more `iterations` x_t is found as a fixed point, x_t = step(x_s, e(x_t, t)) (Pan et al. 2023): then
    the round trip is exact, where the iteration converges. It contracts at least by 1 - (sigma_s / alpha_s) /
    (sigma_t / alpha_t) where the denoiser does; that is no contraction at all in the step from the clean end, which a
    trained prior's small details therefore do not survive. Times that end at 0 instead of -1 leave that step out.
    What was inverted at scale 1 and is generated at another one does not come back, whatever the number of steps.

    Args:
        x: [B, ...], clean; or at the time that `times` ends with.
        times: falling, as the sampler will take them.
        iterations: calls of `denoise` a step; 1 is plain inversion.
        clip: as the sampler will have it.
        callback: sees t and s swapped: from s < t to t.
    """
    steps = len(times) - 1
    for index, (s, t) in enumerate(itertools.pairwise(reversed(times))):
        t_all, s_all = everywhere(t, x), everywhere(s, x)
        alpha_s, sigma_s = schedule.at(s_all, x)
        x_t = x
        for _ in range(iterations):
            noise = denoise(x_t, t_all).clipped(clip).noise
            # x at s with the noise of t is a prediction too, and DDIM's step from it goes up as well as down.
            prediction = Prediction.of("noise", noise, x, alpha_s, sigma_s)
            x_t = ddim_step(schedule, prediction, s_all, t_all, 0.0, x)
        x = x_t
        if callback is not None:
            callback(SamplingStep(index, steps, s, t, prediction, x))
    return x


@dataclass(frozen=True)
class EditFriendly:
    """The noises that lead ancestral sampling to a given picture (Huberman-Spiegelglas et al. 2024).

    Args:
        times: falling, N steps.
        path: [N, B, ...], x_t at times[:-1].
        z: [N, B, ...], the noise of each step; larger than standard normal noise, since it holds the picture.
        last: [B, ...], what the step to the clean end, which adds no noise, leaves to be added.
    """

    times: list[int]
    path: Tensor
    z: Tensor
    last: Tensor


def edit_friendly_invert(
    schedule: NoiseSchedule,
    denoise: Denoiser,
    x0: Tensor,
    times: list[int],
    clip: Limits = None,
    generator: Randomness = None,
    callback: Callback | None = None,
) -> EditFriendly:
    """Noises z with x_s = mean(x_t) + std z for x_t drawn from q(x_t | x_0), each time by itself (their eq. 5 and 6).

    Unlike the path of DDIM inversion these x_t are as noisy as those that the denoiser was trained on.
    """
    path = torch.stack([schedule.add_noise(x0, standard_normal(x0, generator), everywhere(t, x0)) for t in times[:-1]])
    noises, rest = iter([*path[1:], x0]), []

    def step(prediction: Prediction, t: Tensor, s: Tensor) -> Tensor:
        mean, std = schedule.posterior(prediction.x_t, prediction.clean, t, s)
        x_s = next(noises)
        rest.append((x_s - mean) / torch.where(s.reshape(std.shape) < 0, 1.0, std))
        return x_s

    walk(step, denoise, path[0], times, clip, callback)
    last = rest[-1] if times[-1] < 0 else torch.zeros_like(x0)
    return EditFriendly(times, path, torch.stack([*rest[:-1], rest[-1] - last]), last)


def edit_friendly_replay(
    schedule: NoiseSchedule,
    denoise: Denoiser,
    inverted: EditFriendly,
    skip: int = 0,
    clip: Limits = None,
    keep_last: bool = True,
    callback: Callback | None = None,
) -> Tensor:
    """Ancestral sampling with the noises of an inversion: under the same denoiser the picture itself, but for rounding;
    under another one an edit of it.

    Args:
        skip: steps left out at the noisy end; the more, the more of the picture is kept.
        keep_last: whether what the last step left over is added; the published code leaves it out, and its picture
            comes back with that error.
    """
    noises = iter(inverted.z[skip:])

    def step(prediction: Prediction, t: Tensor, s: Tensor) -> Tensor:
        mean, std = schedule.posterior(prediction.x_t, prediction.clean, t, s)
        return mean + std * next(noises)

    x = walk(step, denoise, inverted.path[skip], inverted.times[skip:], clip, callback)
    return x + inverted.last if keep_last else x


@torch.no_grad()
def invert(
    prior: Prior,
    images: Tensor,
    condition: Condition,
    steps: int = 50,
    cfg_scale: float = 1.0,
    iterations: int = 1,
    callback: Callback | None = None,
) -> Tensor:
    """The noise [B, c, h, w] of pictures [B, H, W, C] in 0..1, for the `start` of `sample` with the same `steps`.

    Args:
        condition: what the pictures show; one of its items for each.
        cfg_scale: 1 comes back; more is edited more strongly.
        iterations: as for `ddim_invert`.

    Raises:
        UserError: pictures that the prior cannot take.
    """
    return ddim_invert(
        prior.schedule,
        guided_denoiser(prior, condition, cfg_scale),
        to_space(prior, images),
        timesteps(steps, total=len(prior.schedule)),
        iterations,
        prior.clip_range,
        callback,
    )
