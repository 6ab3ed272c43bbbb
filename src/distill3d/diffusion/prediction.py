"""One network output, seen as noise, clean picture, velocity, flow or score."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

from torch import Tensor
from typing_extensions import Self

Kind = Literal["noise", "clean", "velocity", "flow", "score"]


@dataclass(frozen=True)
class Prediction:
    """What a denoiser says about `x_t = alpha x_0 + sigma e`.

    Clean picture and noise are both kept, because neither can be had from the other at both ends of a schedule
    (alpha = 0 with a zero terminal signal-to-noise ratio, sigma = 0 at the clean end). They always satisfy
    `x_t = alpha clean + sigma noise`.

    Args:
        x_t: [B, ...].
        alpha, sigma: the schedule at t, broadcastable to `x_t`.
        clean, noise: predicted x_0 and e, shaped like `x_t`.
    """

    x_t: Tensor
    alpha: Tensor
    sigma: Tensor
    clean: Tensor
    noise: Tensor

    @classmethod
    def of(cls, kind: Kind, output: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Prediction:
        """From a network's output, by what it predicts.

        `velocity` is `alpha e - sigma x_0` (Salimans and Ho 2022), `flow` is `e - x_0`, the direction of a straight
        path from picture to noise (Liu et al. 2023), `score` is the gradient of log p_t(x_t).
        """
        if kind == "noise":
            return cls(x_t, alpha, sigma, (x_t - sigma * output) / alpha, output)
        if kind == "clean":
            return cls(x_t, alpha, sigma, output, (x_t - alpha * output) / sigma)
        if kind == "velocity":
            power = alpha**2 + sigma**2  # 1 for a variance-preserving schedule
            clean = (alpha * x_t - sigma * output) / power
            return cls(x_t, alpha, sigma, clean, (alpha * output + sigma * x_t) / power)
        if kind == "flow":
            clean, noise = (x_t - sigma * output), (x_t + alpha * output)
            return cls(x_t, alpha, sigma, clean / (alpha + sigma), noise / (alpha + sigma))
        if kind == "score":
            return cls.of("noise", -sigma * output, x_t, alpha, sigma)
        raise ValueError(f"unknown prediction kind {kind!r}: noise, clean, velocity, flow or score")

    @property
    def velocity(self) -> Tensor:
        """`alpha e - sigma x_0`, shaped like `x_t`."""
        return self.alpha * self.noise - self.sigma * self.clean

    @property
    def flow(self) -> Tensor:
        """`e - x_0`, shaped like `x_t`."""
        return self.noise - self.clean

    @property
    def score(self) -> Tensor:
        """`-e / sigma`: the gradient of log p_t at x_t."""
        return -self.noise / self.sigma

    def moved(self, clean: Tensor, noise: Tensor) -> Self:
        """The same x_t with another clean picture and noise; what else a kind of prediction knows is kept."""
        return replace(self, clean=clean, noise=noise)

    def rows(self, where: slice) -> Self:
        """Some of the batch's pictures alone."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v[where] if len(v) == len(self.x_t) else v for k, v in values.items()})

    def clipped(self, limits: tuple[float, float] | None) -> Prediction:
        """The clean picture clamped to `limits`, and the noise that then explains `x_t`; unchanged for None."""
        if limits is None:
            return self
        return Prediction.of("clean", self.clean.clamp(*limits), self.x_t, self.alpha, self.sigma)
