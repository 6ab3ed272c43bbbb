"""Negative prompts that cannot take away what the prompt asks for (Armandpour et al. 2023, "Perp-Neg")."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from distill3d.diffusion.condition import Condition
from distill3d.diffusion.guided import Scale, branches, guided, mixture
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.prior import Prior

Negative = tuple[Condition, Scale]  # a prompt to turn away from, and its weight


def turned(
    prior: Prior, x_t: Tensor, t: Tensor, condition: Condition, cfg_scale: Scale, negatives: Sequence[Negative] = ()
) -> Prediction:
    """`guided` where there is nothing to turn away from, else `perp_neg`."""
    if not negatives:
        return guided(prior, x_t, t, condition, cfg_scale)
    conditions, weights = zip(*negatives, strict=True)
    return perp_neg(prior, x_t, t, condition, conditions, cfg_scale, weights)


def perp_neg(
    prior: Prior,
    x_t: Tensor,
    t: Tensor,
    condition: Condition,
    negatives: Sequence[Condition],
    cfg_scale: Scale,
    weights: Sequence[Scale],
) -> Prediction:
    """`e_0 + s (d + sum_i w_i perp(d_i, d))` with d = e_c - e_0 and d_i = e_i - e_0, from one network call.

    perp takes from d_i its part along d, for each picture by itself. Published code takes the inner product over the
    whole batch, so that a picture's result depends on its neighbours; that is the same only for a batch of one.
    Since each part is a multiple of a branch, the sum is a mixture with coefficients of its own for each picture.

    Args:
        condition: the prompt, with its unconditional branch.
        negatives: the prompts to turn away from.
        cfg_scale: s, as for `guided`.
        weights: w_i, one a negative prompt, a number or [B]; negative turns away.
    """
    if condition.unconditional is None:
        raise ValueError("Perp-Neg needs a condition that knows its unconditional branch")
    if len(negatives) != len(weights):
        raise ValueError(f"{len(negatives)} negative prompts need as many weights, got {len(weights)}")
    parts = branches(prior, x_t, t, [condition.unconditional, condition, *negatives])
    # In the clean picture, of which the noise is a multiple picture by picture: it is told apart at every time.
    directions = [(p.clean - parts[0].clean).flatten(1) for p in parts[1:]]
    towards, scale = directions[0], _each(cfg_scale, x_t)
    along = [share_along(d, towards) for d in directions[1:]]
    away = [scale * _each(w, x_t) for w in weights]
    ahead = scale - sum((a * share for a, share in zip(away, along, strict=True)), torch.zeros_like(scale))
    return mixture(parts, [1 - ahead - sum(away, torch.zeros_like(scale)), ahead, *away])


def share_along(d: Tensor, towards: Tensor) -> Tensor:
    """How much of `towards` is in d, picture by picture, [B, N] each: <d, towards> / <towards, towards>, 0 for 0."""
    square = towards.square().sum(1)
    return torch.where(square > 0, (d * towards).sum(1) / torch.where(square > 0, square, 1.0), 0.0)


def _each(value: Scale, like: Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=like.dtype, device=like.device).expand(len(like))
