"""Which noise level at which step: DreamTime's schedule, from coarse to fine (Huang et al. 2024, eq. 6 to 8)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from distill3d.diffusion.schedule import NoiseSchedule

Version = Literal["v1", "v2"]


def time_weights(schedule: NoiseSchedule, version: Version = "v1") -> Tensor:
    """How many of the steps each t = 0 .. T-1 gets, [T] float64, sum 1; published for T = 1000, stretched to others.

    v1: 1 between t = 500 and 800, Gaussian tails of 100 below and 300 above.
    v2: sigma / alpha times a Gaussian about 500 of standard deviation 125.
    """
    t = torch.arange(len(schedule), dtype=torch.float64) * (1000 / len(schedule))
    if version == "v1":
        weights = torch.exp(-((t - 800).clamp(min=0) ** 2) / (2 * 300**2))
        weights = weights * torch.exp(-((500 - t).clamp(min=0) ** 2) / (2 * 100**2))
    else:
        level = torch.exp(-0.5 * schedule.log_snr(torch.arange(len(schedule))))
        weights = level * torch.exp(-((t - 500) ** 2) / (2 * 125**2))
    return weights / weights.sum()


def scheduled_time(weights: Tensor, step: int, steps: int) -> int:
    """t of step 0 .. steps - 1: the earliest that leaves a share `step / steps` of the weight above it (eq. 6).

    Never rises from one step to the next.
    """
    above = weights.flip(0).cumsum(0).flip(0)  # [T], the weight at t and above: falls with t
    return int((above - step / steps).abs().argmin())
