"""The noise schedule: the only place that knows alpha and sigma."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from distill3d.core.component import nearest
from distill3d.core.errors import UserError
from distill3d.diffusion import schedule_families as families


class NoiseSchedule:
    """`x_t = alpha_t x_0 + sigma_t e` for t = 0 .. T-1, and t = -1 for the clean end (alpha 1, sigma 0).

    Every method takes explicit batched times: `t` and, where it steps, an earlier `s < t`, both [B] integers.
    Coefficients are kept in float64 and come back in the dtype of the tensor they will meet.

    Args:
        alpha, sigma: [T] each, strictly falling and rising; any family (variance preserving or flow matching), see
            `schedule_families`. alpha may end in 0 (zero terminal signal-to-noise ratio).
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
    def from_betas(cls, betas: Tensor) -> NoiseSchedule:
        """Variance preserving, from the variance of each single step, [T]."""
        return cls.from_alpha_bar(families.alpha_bar_of(betas))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> NoiseSchedule:
        """From the `scheduler_config.json` of a diffusers folder; flow matching is told by its class or its flags.

        Raises:
            UserError: a `beta_schedule` other than linear, scaled_linear or squaredcos_cap_v2.
        """
        steps = int(config.get("num_train_timesteps", 1000))
        if str(config.get("_class_name", "")).startswith("FlowMatch") or config.get("use_flow_sigmas"):
            return cls(*families.rectified_flow(steps, float(config.get("shift") or config.get("flow_shift") or 1.0)))
        kind = config.get("beta_schedule", "linear")
        start, end = (float(config.get("beta_start", 1e-4)), float(config.get("beta_end", 0.02)))
        if config.get("trained_betas") is not None:
            betas = torch.as_tensor(config["trained_betas"], dtype=torch.float64)
        elif kind == "linear":
            betas = families.linear_betas(steps, start, end)
        elif kind == "scaled_linear":
            betas = families.scaled_linear_betas(steps, start, end)
        elif kind == "squaredcos_cap_v2":
            betas = families.cosine_betas(steps)
        else:
            known = ("linear", "scaled_linear", "squaredcos_cap_v2")
            raise UserError(f"unknown beta_schedule {kind!r}{nearest(str(kind), known)}")
        alpha_bar = families.alpha_bar_of(betas)
        if config.get("rescale_betas_zero_snr"):
            alpha_bar = families.zero_terminal_snr(alpha_bar)
        return cls.from_alpha_bar(alpha_bar)

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

    def add_more_noise(self, x_s: Tensor, noise: Tensor, s: Tensor, t: Tensor) -> Tensor:
        """A draw of x_t given x_s [B, ...] for s < t, from standard normal `noise`: q(x_t | x_s).

        One draw over any stride; for a variance-preserving schedule sqrt(1 - beta) x_s + sqrt(beta) noise with the
        beta of that stride.
        """
        alpha_t, alpha_s = (self.at(time, x_s)[0] for time in (t, s))
        std = self.step_variance(t, s).clamp(min=0).sqrt().reshape(_column(x_s)).to(x_s)
        return alpha_t / alpha_s * x_s + std * noise

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
        """log(alpha_t^2 / sigma_t^2), [B] float64; infinite at the clean end, and at a noisy one without signal."""
        alpha, sigma = self._table[:, t.cpu()]
        return 2 * (alpha.log() - sigma.log())

    def snr(self, t: Tensor) -> Tensor:
        """alpha_t^2 / sigma_t^2, [B] float64."""
        alpha, sigma = self._table[:, t.cpu()]
        return (alpha / sigma) ** 2

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
