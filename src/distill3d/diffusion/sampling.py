"""Samplers: plain functions over a schedule, a denoiser and explicit times."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from distill3d.diffusion.condition import Condition
from distill3d.diffusion.guided import guided
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.prior import Prior
from distill3d.diffusion.schedule import NoiseSchedule

Denoiser = Callable[[Tensor, Tensor], Prediction]  # x_t [B, ...] and t [B] to what is predicted there
Spacing = Literal["leading", "trailing", "linspace"]
Limits = tuple[float, float] | None


@dataclass(frozen=True)
class SamplingStep:
    """What a callback sees: the step's index, its times, the prediction at t, and the picture it led to at s."""

    index: int
    t: int
    s: int
    prediction: Prediction
    x_s: Tensor


Callback = Callable[[SamplingStep], None]


def timesteps(steps: int, spacing: Spacing = "trailing", total: int = 1000, offset: int = 0) -> list[int]:
    """`steps` falling times and the clean end: t_1 > ... > t_N > -1 (Lin et al. 2023, table 2).

    Consecutive pairs are the (t, s) of a sampler, so no step size is ever derived from N again.

    Args:
        spacing: trailing starts at T - 1, leading ends at 0, linspace does both.
        offset: added to leading times, as Stable Diffusion 1 does with 1.
    """
    if not 1 <= steps <= total:
        raise ValueError(f"{steps} steps do not fit a schedule of {total}")
    if spacing == "leading":
        times = [min(i * (total // steps) + offset, total - 1) for i in range(steps)]
    elif spacing == "trailing":
        times = [round((i + 1) * total / steps) - 1 for i in range(steps)]
    elif spacing == "linspace":
        times = [round(i * (total - 1) / (steps - 1)) for i in range(steps)] if steps > 1 else [total - 1]
    else:
        raise ValueError(f"unknown spacing {spacing!r}: leading, trailing or linspace")
    return [*reversed(times), -1]


def standard_normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Noise shaped like a tensor, drawn where the generator lives: the same seed gives the same bits everywhere."""
    device = like.device if generator is None else generator.device
    return torch.randn(like.shape, generator=generator, device=device, dtype=like.dtype).to(like.device)


def ddim_step(schedule: NoiseSchedule, prediction: Prediction, t: Tensor, s: Tensor, eta: float, z: Tensor) -> Tensor:
    """x_s from a prediction at t (Song et al. 2021, eq. 12): `alpha_s x_0 + sqrt(sigma_s^2 - std^2) e + std z`.

    `s` may also be later than t with eta 0, which is DDIM inversion. t and s are [B], z is shaped like x.
    """
    alpha, sigma = schedule.at(s, prediction.x_t)
    if eta == 0:
        return alpha * prediction.clean + sigma * prediction.noise
    std = schedule.sigma_eta(t, s, eta).reshape((-1,) + (1,) * (z.ndim - 1)).to(z)
    return alpha * prediction.clean + (sigma**2 - std**2).clamp(min=0).sqrt() * prediction.noise + std * z


def ddim(
    schedule: NoiseSchedule,
    denoise: Denoiser,
    x: Tensor,
    times: list[int],
    eta: float = 0.0,
    clip: Limits = None,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """DDIM from `x` at the first of `times` down to the last (Song et al. 2021); eta 1 is ancestral sampling.

    Args:
        denoise: called once a step.
        x: [B, ...], noise at times[0].
        times: falling, from `timesteps`.
        clip: limits of the predicted clean picture; the noise is derived from the clipped one.
        generator: for eta > 0.
    """
    for index, (t, s) in enumerate(itertools.pairwise(times)):
        t_all, s_all = _batch(t, x), _batch(s, x)
        prediction = denoise(x, t_all).clipped(clip)
        z = standard_normal(x, generator) if eta > 0 and s >= 0 else torch.zeros_like(x)
        x = ddim_step(schedule, prediction, t_all, s_all, eta, z)
        if callback is not None:
            callback(SamplingStep(index, t, s, prediction, x))
    return x


def ddpm(
    schedule: NoiseSchedule,
    denoise: Denoiser,
    x: Tensor,
    times: list[int],
    variance: Literal["small", "large"] = "small",
    clip: Limits = None,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Ancestral sampling (Ho et al. 2020, algorithm 2) over any falling `times`.

    Args:
        variance: of the noise added on the way to s: "small" is that of q(x_s | x_t, x_0), "large" that of
            q(x_t | x_s), the two bounds of section 3.2. The step to the clean end adds none.
        denoise, x, clip, generator, callback: as for `ddim`.
    """
    for index, (t, s) in enumerate(itertools.pairwise(times)):
        t_all, s_all = _batch(t, x), _batch(s, x)
        prediction = denoise(x, t_all).clipped(clip)
        mean, std = schedule.posterior(x, prediction.clean, t_all, s_all)
        if variance == "large":
            std = schedule.step_variance(t_all, s_all).sqrt().reshape(std.shape).to(std)
        x = mean if s < 0 else mean + std * standard_normal(x, generator)
        if callback is not None:
            callback(SamplingStep(index, t, s, prediction, x))
    return x


@torch.no_grad()
def sample(
    prior: Prior,
    condition: Condition,
    steps: int = 50,
    cfg_scale: float = 3.0,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Pictures [B, H, W, C] in 0..1 from noise, by DDIM with guidance.

    Args:
        condition: from `prior.condition`; one picture for each of its items.
        cfg_scale: as for `guided`.
    """
    x = standard_normal(condition.text.new_empty(prior.x_shape(len(condition))), generator)

    def denoise(x_t: Tensor, t: Tensor) -> Prediction:
        return guided(prior, x_t, t, condition, cfg_scale)

    times = timesteps(steps, "trailing", len(prior.schedule))
    x = ddim(prior.schedule, denoise, x, times, eta, prior.clip_range, generator, callback)
    return prior.decode(x).clamp(0, 1)


def _batch(t: int, x: Tensor) -> Tensor:
    return torch.full((x.shape[0],), t, dtype=torch.long, device=x.device)
