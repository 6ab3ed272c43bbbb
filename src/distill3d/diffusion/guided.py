"""Guidance between conditions: the one place that mixes branches, in one convention."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from distill3d.diffusion.condition import Condition, concatenate
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.prior import Prior


def branches(prior: Prior, x_t: Tensor, t: Tensor, conditions: Sequence[Condition]) -> list[Prediction]:
    """One prediction a condition for the same `x_t` [B, C, h, w] and `t` [B], from one batched network call."""
    n, batch = len(conditions), x_t.shape[0]
    if n == 1:
        return [prior.denoise(x_t, t, conditions[0].expand(batch))]
    x_all, t_all = x_t.repeat(n, *[1] * (x_t.ndim - 1)), t.repeat(n)
    both = prior.denoise(x_all, t_all, concatenate(conditions, batch))
    parts = zip(both.clean.split(batch), both.noise.split(batch), strict=True)
    return [Prediction(x_t, both.alpha[:batch], both.sigma[:batch], clean, noise) for clean, noise in parts]


def mixture(predictions: Sequence[Prediction], coefficients: Sequence[float]) -> Prediction:
    """Sum of predictions of the same x_t, times coefficients that add up to 1."""
    if len(predictions) == 1 and coefficients[0] == 1:
        return predictions[0]
    first = predictions[0]
    clean = torch.stack([c * p.clean for c, p in zip(coefficients, predictions, strict=True)]).sum(0)
    noise = torch.stack([c * p.noise for c, p in zip(coefficients, predictions, strict=True)]).sum(0)
    return Prediction(first.x_t, first.alpha, first.sigma, clean, noise)


def guided(
    prior: Prior, x_t: Tensor, t: Tensor, conditions: Condition | Sequence[Condition], scales: float | Sequence[float]
) -> Prediction:
    """Classifier-free guidance (Ho and Salimans 2022) towards one condition or several (Liu et al. 2022).

    `e = e_0 + sum_i s_i (e_i - e_0)`, with e_0 the first condition's `unconditional` branch. Scale 1 is the plain
    conditional model and 0 the unconditional one; the tutorial's and the paper's w is s - 1. Branches whose
    coefficient is zero are not evaluated: one network call of B pictures at scale 1, of 2 B otherwise.

    Args:
        x_t: [B, C, h, w].
        t: [B] integers.
        conditions: one, or a sequence that shares the first one's unconditional branch.
        scales: one number a condition.
    """
    conditions = [conditions] if isinstance(conditions, Condition) else list(conditions)
    scales = [float(scales)] if isinstance(scales, (int, float)) else [float(s) for s in scales]
    if len(conditions) != len(scales):
        raise ValueError(f"{len(conditions)} conditions need as many scales, got {len(scales)}")
    rest = 1.0 - sum(scales)
    if rest:
        unconditional = conditions[0].unconditional
        if unconditional is None:
            raise ValueError("a scale other than 1 needs a condition that knows its unconditional branch")
        conditions, scales = [unconditional, *conditions], [rest, *scales]
    used = [(c, s) for c, s in zip(conditions, scales, strict=True) if s]
    return mixture(branches(prior, x_t, t, [c for c, _ in used]), [s for _, s in used])
