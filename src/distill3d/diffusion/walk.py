"""What all samplers share: the walk down the times, with a denoiser as its argument and a callback that sees all."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from distill3d.diffusion.prediction import Prediction

Denoiser = Callable[[Tensor, Tensor], Prediction]  # x_t [B, ...] and t [B] to what is predicted there
Limits = tuple[float, float] | None
Randomness = torch.Generator | Sequence[torch.Generator] | None  # a sequence holds one for each picture
Constraint = Callable[[Tensor, Tensor], Tensor]  # x_s [B, ...] and s [B] to the x_s that the walk goes on with
Step = Callable[[Prediction, Tensor, Tensor], Tensor]  # the prediction at t, t [B] and s [B] to x_s


@dataclass(frozen=True)
class SamplingStep:
    """What a callback sees: the step's index of how many, its times, the prediction at t, and the x_s it led to."""

    index: int
    total: int
    t: int
    s: int
    prediction: Prediction
    x_s: Tensor


Callback = Callable[[SamplingStep], None]


def walk(
    step: Step,
    denoise: Denoiser,
    x: Tensor,
    times: list[int],
    clip: Limits = None,
    callback: Callback | None = None,
    constrain: Constraint | None = None,
) -> Tensor:
    """From `x` [B, ...] at times[0] to the last of `times`, one call of `denoise` and one `step` for every pair.

    Args:
        times: falling, from `timesteps`; the clean end is -1.
        clip: limits of the predicted clean picture; the noise is derived from the clipped one.
        constrain: changes every x_s before the walk goes on, to keep what is known of a picture, say.
    """
    for index, (t, s) in enumerate(itertools.pairwise(times)):
        t_all, s_all = everywhere(t, x), everywhere(s, x)
        prediction = denoise(x, t_all).clipped(clip)
        x = step(prediction, t_all, s_all)
        if constrain is not None:
            x = constrain(x, s_all)
        if callback is not None:
            callback(SamplingStep(index, len(times) - 1, t, s, prediction, x))
    return x


def everywhere(t: int, x: Tensor) -> Tensor:
    """One time for all pictures of x, [B]."""
    return torch.full((x.shape[0],), t, dtype=torch.long, device=x.device)


def column(values: Tensor, like: Tensor) -> Tensor:
    """[B] as [B, 1, ...], with the dtype, device and number of axes of `like`."""
    return values.reshape((-1,) + (1,) * (like.ndim - 1)).to(like)


def standard_normal(like: Tensor, generator: Randomness) -> Tensor:
    """Noise shaped like a tensor, drawn where the generator lives: the same seed gives the same bits everywhere.

    With a generator for each picture, a picture's noise does not depend on how many there are.
    """
    if isinstance(generator, Sequence):
        if len(generator) != len(like):
            raise ValueError(f"{len(generator)} generators for {len(like)} pictures: give one, or one a picture")
        return torch.cat([standard_normal(row, g) for row, g in zip(like.split(1), generator, strict=True)])
    device = like.device if generator is None else generator.device
    return torch.randn(like.shape, generator=generator, device=device, dtype=like.dtype).to(like.device)
