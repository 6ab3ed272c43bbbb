"""Training a denoiser (Ho et al. 2020, algorithm 1): any network, any prediction, any schedule.

The tutorial's loss is E C_t ||e - e_hat(x_t, t)||^2. The same error seen as a clean picture, a velocity or a flow
differs by a factor of t alone, so what a network predicts and how its errors are weighted are two choices, and C_t
names the second:

| weighting | C_t | is the plain squared error of |
| --- | --- | --- |
| simple | 1 | the noise (Ho et al. 2020, eq. 14) |
| clean | sigma^2 / alpha^2 = 1 / SNR | the clean picture |
| velocity | (alpha^2 + sigma^2)^2 / alpha^2 | alpha e - sigma x_0 (Salimans and Ho 2022) |
| flow | (alpha + sigma)^2 / alpha^2 | e - x_0 (Liu et al. 2023) |
| min-snr | min(SNR, 5) / SNR | the clean picture, weighed by min(SNR, 5) (Hang et al. 2023) |

Where variance is preserved, the velocity's is 1 + 1 / SNR.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from distill3d.diffusion.prediction import Kind, Prediction
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.walk import column, standard_normal

Weighting = Literal["simple", "clean", "velocity", "flow", "min-snr"]
Network = Callable[[Tensor, Tensor, Any], Tensor]  # x_t [B, ...], t [B] and a condition to what it predicts
Times = Callable[[int, torch.Generator | None], Tensor]  # how many, and the generator, to t [B]

_OWN: dict[Kind, Weighting] = {"noise": "simple", "clean": "clean", "velocity": "velocity", "flow": "flow"}
_SNR_LIMIT = 5.0


def loss_weight(schedule: NoiseSchedule, t: Tensor, weighting: Weighting, predicts: Kind) -> Tensor:
    """The factor [B], float64, from the squared error of what the network predicts to that of the weighting.

    Exactly 1 where the two are the same error; finite also where no signal is left, but for a noise prediction.
    """
    if _OWN.get(predicts) == weighting:
        return torch.ones(len(t), dtype=torch.float64)
    return _on_clean(schedule, t, weighting) / _on_clean(schedule, t, _OWN[predicts])


def _on_clean(schedule: NoiseSchedule, t: Tensor, weighting: Weighting) -> Tensor:
    """C_t SNR: the same loss as a factor of the clean picture's squared error, which is finite everywhere."""
    alpha, sigma = (c.flatten() for c in schedule.at(t.cpu(), schedule.alpha[:, None]))
    snr = (alpha / sigma) ** 2
    weights = {
        "simple": snr,
        "clean": torch.ones_like(snr),
        "velocity": ((alpha**2 + sigma**2) / sigma) ** 2,
        "flow": ((alpha + sigma) / sigma) ** 2,
        "min-snr": snr.clamp(max=_SNR_LIMIT),
    }
    if weighting not in weights:
        raise ValueError(f"unknown weighting {weighting!r}: {', '.join(weights)}")
    return weights[weighting]


def denoising_loss(
    schedule: NoiseSchedule,
    network: Network,
    x0: Tensor,
    condition: Any = None,
    predicts: Kind = "noise",
    weighting: Weighting = "simple",
    times: Times | None = None,
    generator: torch.Generator | None = None,
    counted: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """C_t times the squared error of each picture, its mean over the picture, [B], and the times it was noised to, [B].

    Args:
        network: (x_t, t, condition) to what it `predicts`, shaped like x_t.
        x0: clean pictures in the prior's space, [B, ...].
        times: how t is drawn; evenly over the schedule where not given.
        generator: of the times and the noise.
        counted: bool, broadcastable to x0; where given, the mean is over these numbers alone.
    """
    t = (times or uniform(schedule))(len(x0), generator).to(x0.device)
    alpha, sigma = schedule.at(t, x0)
    noise = standard_normal(x0, generator)
    truth = Prediction(alpha * x0 + sigma * noise, alpha, sigma, x0, noise)
    error = (network(truth.x_t, t, condition) - getattr(truth, predicts)).square()
    error = column(loss_weight(schedule, t, weighting, predicts), error) * error
    if counted is None:
        return error.flatten(1).mean(1), t
    share = counted.to(error).expand_as(error).flatten(1)
    return (share * error.flatten(1)).sum(1) / share.sum(1).clamp(min=1), t


def uniform(schedule: NoiseSchedule) -> Times:
    """Times evenly over the schedule."""

    def draw(count: int, generator: torch.Generator | None) -> Tensor:
        device = None if generator is None else generator.device
        return torch.randint(len(schedule), (count,), generator=generator, device=device)

    return draw


def train(
    schedule: NoiseSchedule,
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Any]],
    optimizer: torch.optim.Optimizer,
    predicts: Kind = "noise",
    weighting: Weighting = "simple",
    times: Times | None = None,
    average: torch.optim.swa_utils.AveragedModel | None = None,
    clip_norm: float = 1.0,
    generator: torch.Generator | None = None,
    callback: Callable[[int, Tensor, Tensor], None] | None = None,
) -> None:
    """The tutorial's Algorithm 1 until the batches end: draw x_0, t and noise, step on the gradient of the loss.

    Args:
        batches: pairs of clean pictures [B, ...] and their condition, handed to the network as it is. For
            classifier-free guidance the caller leaves the condition out of one in ten.
        average: a running average of the network, brought up to date after every step: an `AveragedModel` with
            `get_ema_multi_avg_fn(0.9999)`. It is what samples.
        clip_norm: largest norm of the gradient of all parameters together.
        callback: sees the step's index, and each picture's loss and time, [B].
        schedule, network, predicts, weighting, times, generator: as for `denoising_loss`.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for index, (x0, condition) in enumerate(batches):
        losses, t = denoising_loss(schedule, network, x0, condition, predicts, weighting, times, generator)
        optimizer.zero_grad(set_to_none=True)
        losses.mean().backward()
        nn.utils.clip_grad_norm_(parameters, clip_norm)
        optimizer.step()
        if average is not None:
            average.update_parameters(network)
        if callback is not None:
            callback(index, losses.detach(), t)
