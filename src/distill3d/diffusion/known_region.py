"""Keep what is known of a picture while the rest is made."""

from __future__ import annotations

import torch
from torch import Tensor

from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.walk import Constraint, Randomness, standard_normal


def keep_known(schedule: NoiseSchedule, known: Tensor, keep_mask: Tensor, generator: Randomness = None) -> Constraint:
    """A constraint for the samplers: at every s the kept part is the known picture at that level of noise.

    `x_s = keep q(x_s | known) + (1 - keep) x_s` (Meng et al. 2022, algorithm 3; Lugmayr et al. 2022, eq. 8), with fresh
    noise at every step and the level s of the x that it meets. At the clean end the kept part is `known` to the bit.
    With nothing to keep, nothing is drawn.

    Args:
        known: [B, ...], clean.
        keep_mask: bool, broadcastable to it; True is kept.
    """
    empty = not bool(keep_mask.any())

    def constrain(x_s: Tensor, s: Tensor) -> Tensor:
        if empty:
            return x_s
        if bool((s < 0).all()):
            return torch.where(keep_mask, known, x_s)
        return torch.where(keep_mask, schedule.add_noise(known, standard_normal(known, generator), s), x_s)

    return constrain
