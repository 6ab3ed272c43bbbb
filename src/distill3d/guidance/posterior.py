"""Posterior distillation sampling (Koo et al. 2024), in the reading of the paper and in that of the released code.

The stochastic latent of a picture is z_t = (x_s - mu(x_t, x0_hat)) / std, for an earlier time s and noises that source
and target share. The difference of the two latents is

    psi (x0_target - x0_source) + chi (e_target - e_source),

so the second noise cancels and never needs to be drawn. With consistent coefficients of the posterior q(x_s | x_t, x0)
psi is exactly zero, and PDS is a weighted delta denoising score. The released code steps over a grid of 500 times,
s = t - 2, but takes beta and alpha of a single step: there psi > 0, the identity term of the paper.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from distill3d.diffusion.condition import Condition
from distill3d.diffusion.guided import guided
from distill3d.diffusion.prior import Prior
from distill3d.diffusion.schedule import NoiseSchedule

Reading = Literal["strided", "exact"]


def identity_weights(
    schedule: NoiseSchedule, t: Tensor, stride: int = 2, reading: Reading = "strided"
) -> tuple[Tensor, Tensor]:
    """psi and chi at times t [B] with s = t - stride, [B] float64 each.

    Args:
        t: at least `stride`.
        reading: "strided" takes the beta of the single step from t - 1 to t, as the released code does; "exact" that
            of the whole step from s to t, with which psi is 0 (identity P1 of the posterior).
    Raises:
        ValueError: a time earlier than the stride.
    """
    t = t.cpu()
    if bool((t < stride).any()):
        raise ValueError(f"times must be at least the stride, {stride}")
    s, one = t - stride, t - 1
    like = torch.zeros(len(t), dtype=torch.float64)
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule.at(t, like), schedule.at(s, like)
    earlier = schedule.at(one, like)[0] if reading == "strided" else alpha_s
    ratio = alpha_t / earlier  # square root of the alpha of the step
    beta = 1 - ratio**2
    c0 = alpha_s * beta / sigma_t**2
    c1 = ratio * sigma_s**2 / sigma_t**2
    std = beta.sqrt() * sigma_s / sigma_t
    return (alpha_s - c0 - c1 * alpha_t) / std, c0 * sigma_t / alpha_t / std


@torch.no_grad()
def posterior_distillation(
    prior: Prior,
    x: Tensor,
    source: Tensor,
    t: Tensor,
    noise: Tensor,
    target_text: Condition,
    source_text: Condition,
    cfg_scale: float,
    stride: int = 2,
    reading: Reading = "strided",
) -> Tensor:
    """Gradient of posterior distillation sampling with respect to `x` (Koo et al. 2024, eq. 12).

    Args:
        x, source: target and source in the prior's space, [B, c, h, w].
        t: [B], at least `stride`. noise: [B, c, h, w], shared.
        target_text, source_text: with their unconditional branches.
        stride, reading: see `identity_weights`.
    Returns:
        [B, c, h, w]: psi (x - source) + chi (e_target - e_source); zero where picture and text agree.
    """
    shape = (-1, *[1] * (x.ndim - 1))
    psi, chi = (c.reshape(shape).to(x) for c in identity_weights(prior.schedule, t, stride, reading))
    add_noise = prior.schedule.add_noise
    target = guided(prior, add_noise(x, noise, t), t, target_text, cfg_scale)
    reference = guided(prior, add_noise(source, noise, t), t, source_text, cfg_scale)
    return psi * (x - source) + chi * (target.noise - reference.noise)
