"""How much a noise level counts: the w(t) of score distillation, in its published forms."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from distill3d.diffusion.prediction import Prediction

Weighting = Literal["sds", "uniform", "fantasia3d", "clean"]


def weight(prediction: Prediction, weighting: Weighting) -> Tensor:
    """w(t) of a difference of noises, broadcastable to x.

    "sds" is sigma^2 (Poole et al. 2023), "uniform" 1, "fantasia3d" alpha sigma^2 (Chen et al. 2023), "clean"
    sigma / alpha: the weight that turns a difference of noises into one of clean pictures, which LucidDreamer's
    code uses too (Liang et al. 2024).
    """
    alpha, sigma = prediction.alpha, prediction.sigma
    if weighting == "sds":
        return sigma**2
    if weighting == "uniform":
        return torch.ones_like(sigma)
    return alpha * sigma**2 if weighting == "fantasia3d" else sigma / alpha


def difference(one: Prediction, other: Prediction, weighting: Weighting) -> Tensor:
    """`w(t) (e_one - e_other)` of two predictions at the same x_t.

    As sigma e = x_t - alpha x0, it is `w alpha / sigma (x0_other - x0_one)`; "clean" is computed in this form,
    without the division by alpha, which may be 0.
    """
    if weighting == "clean":
        return other.clean - one.clean
    return weight(one, weighting) * (one.noise - other.noise)
