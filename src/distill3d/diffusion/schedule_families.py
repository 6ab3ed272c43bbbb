"""The families of noise schedules, as tables over t = 0 .. T-1 in float64."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def linear_betas(steps: int = 1000, start: float = 1e-4, end: float = 0.02) -> Tensor:
    """beta_t of DDPM (Ho et al. 2020), [T]."""
    return torch.linspace(start, end, steps, dtype=torch.float64)


def scaled_linear_betas(steps: int = 1000, start: float = 0.00085, end: float = 0.012) -> Tensor:
    """beta_t of Stable Diffusion (Rombach et al. 2022), linear in its square root, [T]."""
    return torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2


def cosine_betas(steps: int = 1000) -> Tensor:
    """beta_t of Nichol and Dhariwal 2021, eq. 17, as diffusers computes it (`squaredcos_cap_v2`), [T]."""

    def alpha_bar(u: float) -> float:
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - alpha_bar((i + 1) / steps) / alpha_bar(i / steps), 0.999) for i in range(steps)]
    return torch.tensor(betas, dtype=torch.float64)


def alpha_bar_of(betas: Tensor) -> Tensor:
    """The cumulative product of 1 - beta, [T]."""
    return (1 - betas.to(torch.float64)).cumprod(0)


def zero_terminal_snr(alpha_bar: Tensor) -> Tensor:
    """alpha_bar shifted and scaled in its square root so that nothing of the picture is left at T-1 (Lin et al. 2023,
    algorithm 1), [T].

    The published schedules stop short of pure noise, so a sampler that starts from pure noise starts wrong: medium
    grey pictures. A network that predicts noise knows nothing at T-1; it must predict velocity, clean picture or flow.
    """
    alpha = alpha_bar.to(torch.float64).sqrt()
    return ((alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])) ** 2


def rectified_flow(steps: int = 1000, shift: float = 1.0) -> tuple[Tensor, Tensor]:
    """alpha and sigma, [T] each, of the straight path x_t = (1 - sigma) x_0 + sigma e (Liu et al. 2023).

    sigma is u = (t + 1) / T, or shift u / (1 + (shift - 1) u), which gives large pictures more of the noisy end
    (Esser et al. 2024, eq. 23). alpha is 0 at T-1: a zero terminal signal-to-noise ratio comes for free.
    """
    u = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    sigma = shift * u / (1 + (shift - 1) * u)
    return 1 - sigma, sigma
