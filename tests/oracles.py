"""A perfect diffusion model in closed form: the test double of every score-based method."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from distill3d.diffusion.condition import Condition
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.prior import Prior
from distill3d.diffusion.schedule import NoiseSchedule

STABLE_DIFFUSION = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


class Oracle(Prior):
    """The exact denoiser of data `x_0 | class ~ N(mean of the class, std^2 I)`, classes equally likely.

    A prompt is a class's name; "" is the unconditional model, whose prediction is the posterior-weighted mixture.

    Args:
        means: [K, c, h, w] float64; by default two classes at +1 and -1 in 8 dimensions.
        names: K prompts.
    """

    def __init__(
        self,
        means: Tensor | None = None,
        names: Sequence[str] = ("plus", "minus"),
        std: float = 0.5,
        schedule: NoiseSchedule | None = None,
        clip_range: tuple[float, float] | None = None,
    ) -> None:
        nn.Module.__init__(self)
        if means is None:
            means = torch.stack([torch.ones(2, 2, 2), -torch.ones(2, 2, 2)]).double()
        self.means = nn.Parameter(means)  # a parameter, so that tests can see whether gradient reaches the model
        self.names, self.variance = list(names), std**2
        self.schedule = schedule or NoiseSchedule.from_config(STABLE_DIFFUSION)
        self.channels, self.resolution = means.shape[1], means.shape[2]
        self.clip_range = clip_range
        self.batches: list[int] = []  # the size of every network call

    def encode(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return 2 * images.permute(0, 3, 1, 2) - 1

    def decode(self, x: Tensor) -> Tensor:
        return (x.permute(0, 2, 3, 1) + 1) / 2

    def x_shape(self, batch: int) -> tuple[int, ...]:
        return batch, *self.means.shape[1:]

    def condition(self, prompts, cameras=None, light=None, negative="", drop_view=False) -> Condition:  # type: ignore[no-untyped-def]
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        negative = [negative] if isinstance(negative, str) else list(negative)
        return Condition(self._text(prompts), unconditional=Condition(self._text(negative)))

    def denoise(self, x_t: Tensor, t: Tensor, condition: Condition) -> Prediction:
        self.batches.append(len(x_t))
        alpha, sigma = self.schedule.at(t, x_t)
        wanted = condition.expand(len(x_t)).text[:, 0].to(x_t)
        share = torch.where(wanted.sum(-1, keepdim=True) > 0, wanted, self.log_classes(x_t, t).exp())
        mean = torch.einsum("bk,kchw->bchw", share, self.means.to(x_t))
        away = (x_t - alpha * mean) / (alpha**2 * self.variance + sigma**2)
        # Both from the data, neither from the other: a schedule may start without signal, or end without noise.
        return Prediction(x_t, alpha, sigma, mean + alpha * self.variance * away, sigma * away)

    def log_classes(self, x_t: Tensor, t: Tensor) -> Tensor:
        """log p(class | x_t), [B, K]."""
        return self._log_joint(x_t, t).log_softmax(-1)

    def log_density(self, x_t: Tensor, t: Tensor) -> Tensor:
        """log p_t(x_t) up to a constant, [B]."""
        return self._log_joint(x_t, t).logsumexp(-1)

    def _log_joint(self, x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = self.schedule.at(t, x_t)
        away = x_t[:, None] - alpha[:, None] * self.means.to(x_t)
        variance = (alpha**2 * self.variance + sigma**2).reshape(-1, 1)
        return -0.5 * away.flatten(2).square().sum(-1) / variance

    def _text(self, prompts: list[str]) -> Tensor:
        rows = [[float(p == name or p.startswith(name + ",")) for name in self.names] for p in prompts]
        if any(p and not any(row) for p, row in zip(prompts, rows, strict=True)):
            raise ValueError(f"the oracle knows {self.names}, not {prompts}")
        return torch.tensor(rows, dtype=torch.float64)[:, None]
