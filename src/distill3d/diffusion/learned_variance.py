"""A denoiser that also says how sure it is: the learned variance of the reverse step (Nichol and Dhariwal 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from distill3d.diffusion.prediction import Kind, Prediction
from distill3d.diffusion.schedule import NoiseSchedule


@dataclass(frozen=True)
class UncertainPrediction(Prediction):
    """A prediction with a variance, as a place between the two bounds that ancestral sampling knows.

    Args:
        share: [B, c, h, w], 0 where the variance is that of q(x_s | x_t, x_0), 1 where it is that of q(x_t | x_s).
    """

    share: Tensor

    @classmethod
    def split(cls, kind: Kind, output: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> UncertainPrediction:
        """From a network's output [B, 2 c, h, w]: the prediction, then the variance as -1..1."""
        first, second = output.split(x_t.shape[1], 1)
        seen = Prediction.of(kind, first, x_t, alpha, sigma)
        return cls(x_t, alpha, sigma, seen.clean, seen.noise, (second + 1) / 2)

    def clipped(self, limits: tuple[float, float] | None) -> Prediction:
        """As for `Prediction`; the variance stays."""
        seen = super().clipped(limits)
        return self.moved(seen.clean, seen.noise)


def learned_std(schedule: NoiseSchedule, share: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """Standard deviation of the reverse step from t to s < t, [B, c, h, w] (Nichol and Dhariwal 2021, eq. 15).

    `exp(v log beta + (1 - v) log beta_small)`, the variance between its two bounds on a logarithmic scale; any stride.
    """
    large = schedule.step_variance(t, s)
    small = schedule.sigma_eta(t, s).square().clamp(min=1e-20)  # 0 on the way to the clean end
    shape = (-1,) + (1,) * (share.ndim - 1)
    log_small, log_large = (torch.log(v).reshape(shape).to(share) for v in (small, large))
    return (0.5 * (share * log_large + (1 - share) * log_small)).exp()
