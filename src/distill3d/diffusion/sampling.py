"""Pictures from a prior, by any of the samplers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from distill3d.diffusion.condition import Condition
from distill3d.diffusion.ddim import Eta, ddim, ddim_step
from distill3d.diffusion.ddpm import ddpm, renoise
from distill3d.diffusion.dpm_solver import dpm_solver
from distill3d.diffusion.euler_flow import euler_flow
from distill3d.diffusion.guided import guided_denoiser
from distill3d.diffusion.heun import heun
from distill3d.diffusion.prior import Prior
from distill3d.diffusion.timesteps import Spacing, started_at, timesteps
from distill3d.diffusion.walk import Callback, Constraint, Denoiser, Limits, Randomness, SamplingStep, standard_normal

__all__ = [
    "SAMPLERS",
    "Callback",
    "Constraint",
    "Denoiser",
    "Limits",
    "Sampler",
    "SamplingStep",
    "Spacing",
    "ddim",
    "ddim_step",
    "ddpm",
    "dpm_solver",
    "euler_flow",
    "heun",
    "renoise",
    "sample",
    "standard_normal",
    "started_at",
    "timesteps",
]

Sampler = Literal["ddim", "ddpm", "ddpm-large", "ddpm-learned", "renoise", "heun", "dpm++", "flow"]
SAMPLERS: dict[str, Callable[..., Tensor]] = {
    "ddim": ddim,
    "ddpm": ddpm,
    "ddpm-large": partial(ddpm, variance="large"),
    "ddpm-learned": partial(ddpm, variance="learned"),
    "renoise": renoise,
    "heun": heun,
    "dpm++": dpm_solver,
    "flow": euler_flow,
}


@torch.no_grad()
def sample(
    prior: Prior,
    condition: Condition,
    steps: int = 50,
    cfg_scale: float = 3.0,
    eta: Eta = 0.0,
    generator: Randomness = None,
    callback: Callback | None = None,
    *,
    sampler: Sampler = "ddim",
    spacing: Spacing = "trailing",
    start: Tensor | None = None,
    interval: tuple[float, float] | None = None,
    rescale: float = 0.0,
    steer: Callable[[Denoiser], Denoiser] | None = None,
) -> Tensor:
    """Pictures [B, H, W, C] in 0..1 from noise, with guidance.

    Args:
        condition: from `prior.condition`; one picture for each of its items.
        cfg_scale, interval, rescale: as for `guided`.
        eta: of DDIM; the other samplers have none.
        generator: one, or one for each picture.
        callback: called after every step, with how many there are.
        sampler: a key of `SAMPLERS`; "flow" is for rectified flows, "ddpm-learned" for priors that say a variance.
        steer: what else guides: makes of the guided denoiser another, as `classifier_guided` does.
        start: the noise to begin with, [B, c, h, w], drawn where it is not given.
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"unknown sampler {sampler!r}: {', '.join(SAMPLERS)}")
    if start is None:
        start = standard_normal(condition.text.new_empty(prior.x_shape(len(condition))), generator)
    options = {"eta": eta} if sampler == "ddim" else {}
    denoise = guided_denoiser(prior, condition, cfg_scale, interval, rescale)
    x = SAMPLERS[sampler](
        prior.schedule,
        denoise if steer is None else steer(denoise),
        start,
        timesteps(steps, spacing, len(prior.schedule)),
        clip=prior.clip_range,
        generator=generator,
        callback=callback,
        **options,
    )
    return prior.decode(x).clamp(0, 1)
