"""The noise schedule: the only place that knows alpha and sigma."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from distill3d.core.component import nearest
from distill3d.core.errors import UserError


class NoiseSchedule:
    """`x_t = alpha_t x_0 + sigma_t e` for t = 0 .. T-1, and t = -1 for the clean end (alpha 1, sigma 0).

    Every method takes explicit batched times: `t` and, where it steps, an earlier `s < t`, both [B] integers.
    Coefficients are kept in float64 and come back in the dtype of the tensor they will meet.

    Args:
        alpha, sigma: [T] each, strictly falling and rising; any family (variance preserving or flow matching).
    """

    def __init__(self, alpha: Tensor, sigma: Tensor) -> None:
        alpha, sigma = (v.detach().to("cpu", torch.float64) for v in (alpha, sigma))
        if alpha.shape != sigma.shape or alpha.ndim != 1:
            raise ValueError(f"alpha and sigma need one shape [T], got {tuple(alpha.shape)} and {tuple(sigma.shape)}")
        self.alpha, self.sigma = alpha, sigma
        # The clean end stands last, so that the index -1 finds it.
        self._table = torch.stack([torch.cat([alpha, alpha.new_ones(1)]), torch.cat([sigma, sigma.new_zeros(1)])])
        self._on: dict[torch.device, Tensor] = {self._table.device: self._table}

    @classmethod
    def from_alpha_bar(cls, alpha_bar: Tensor) -> NoiseSchedule:
        """Variance preserving: alpha = sqrt(alpha_bar), sigma = sqrt(1 - alpha_bar), from [T]."""
        alpha_bar = alpha_bar.to(torch.float64)
        return cls(alpha_bar.sqrt(), (1 - alpha_bar).sqrt())

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> NoiseSchedule:
        """From the `scheduler_config.json` of a diffusers folder.

        Raises:
            UserError: a `beta_schedule` other than linear, scaled_linear or squaredcos_cap_v2.
        """
        steps = int(config.get("num_train_timesteps", 1000))
        kind = config.get("beta_schedule", "linear")
        start, end = (float(config.get("beta_start", 1e-4)), float(config.get("beta_end", 0.02)))
        if config.get("trained_betas") is not None:
            betas = torch.as_tensor(config["trained_betas"], dtype=torch.float64)
        elif kind == "linear":
            betas = torch.linspace(start, end, steps, dtype=torch.float64)
        elif kind == "scaled_linear":
            betas = torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2
        elif kind == "squaredcos_cap_v2":
            betas = _cosine_betas(steps)
        else:
            known = ("linear", "scaled_linear", "squaredcos_cap_v2")
            raise UserError(f"unknown beta_schedule {kind!r}{nearest(str(kind), known)}")
        alpha = (1 - betas).cumprod(0).sqrt()
        if config.get("rescale_betas_zero_snr"):  # Lin et al. 2023, algorithm 1
            alpha = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
        return cls.from_alpha_bar(alpha**2)

    def __len__(self) -> int:
        """T."""
        return self.alpha.shape[0]

    def at(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """alpha_t and sigma_t, [B, 1, ...] each, with the dtype, device and number of axes of `like`."""
        if like.device not in self._on:
            dtype = torch.float32 if like.device.type == "mps" else torch.float64
            self._on[like.device] = self._table.to(like.device, dtype)
        alpha, sigma = self._on[like.device][:, t.to(like.device)]
        shape = (-1,) + (1,) * (like.ndim - 1)
        return alpha.to(like.dtype).reshape(shape), sigma.to(like.dtype).reshape(shape)

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """A draw of x_t given x_0 [B, ...], from standard normal `noise` [B, ...] and `t` [B]."""
        alpha, sigma = self.at(t, x0)
        return alpha * x0 + sigma * noise

    def posterior(self, x_t: Tensor, x0: Tensor, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """Mean [B, ...] and standard deviation [B, 1, ...] of q(x_s | x_t, x_0), Ho et al. 2020, eq. 6 and 7.

        For any s < t: mean = c0 x_0 + c1 x_t with c0 = alpha_s beta / sigma_t^2 and
        c1 = (alpha_t / alpha_s) sigma_s^2 / sigma_t^2, where beta is `step_variance(t, s)`.
        """
        c0, c1, std = (c.reshape(_column(x_t)).to(x_t) for c in self._posterior(t, s))
        return c0 * x0 + c1 * x_t, std

    def sigma_eta(self, t: Tensor, s: Tensor, eta: float = 1.0) -> Tensor:
        """Standard deviation of the noise that DDIM adds from t to s, [B] float64 (Song et al. 2021, eq. 16)."""
        return eta * self._posterior(t, s)[2]

    def step_variance(self, t: Tensor, s: Tensor) -> Tensor:
        """Variance of q(x_t | x_s), [B] float64: 1 - alpha_bar_t / alpha_bar_s where variance is preserved."""
        (alpha_t, sigma_t), (alpha_s, sigma_s) = (self._table[:, t.cpu()], self._table[:, s.cpu()])
        return sigma_t**2 - (alpha_t / alpha_s * sigma_s) ** 2

    def log_snr(self, t: Tensor) -> Tensor:
        """log(alpha_t^2 / sigma_t^2), [B] float64; infinite at the clean end."""
        alpha, sigma = self._table[:, t.cpu()]
        return 2 * (alpha.log() - sigma.log())

    def fraction(self, share: float) -> int:
        """The timestep at a share 0 .. 1 of the schedule, as configs write it: 0.02 of 1000 is 20."""
        return min(max(round(share * len(self)), 0), len(self) - 1)

    def _posterior(self, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (alpha_t, sigma_t), (alpha_s, sigma_s) = (self._table[:, t.cpu()], self._table[:, s.cpu()])
        beta = self.step_variance(t, s)
        c0 = alpha_s * beta / sigma_t**2
        c1 = alpha_t / alpha_s * (sigma_s / sigma_t) ** 2
        return c0, c1, beta.clamp(min=0).sqrt() * sigma_s / sigma_t


def _column(like: Tensor) -> tuple[int, ...]:
    return (-1,) + (1,) * (like.ndim - 1)


def _cosine_betas(steps: int) -> Tensor:
    """Nichol and Dhariwal 2021, eq. 17, as diffusers computes it."""

    def alpha_bar(u: float) -> float:
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - alpha_bar((i + 1) / steps) / alpha_bar(i / steps), 0.999) for i in range(steps)]
    return torch.tensor(betas, dtype=torch.float64)
