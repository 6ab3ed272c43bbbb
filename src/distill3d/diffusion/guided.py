"""Guidance between conditions: the one place that mixes branches, in one convention.

`e = e_0 + s (e_c - e_0)`: scale 1 is the plain conditional model and 0 the unconditional one. The tutorial, the paper
(Ho and Salimans 2022) and some published code write `(1 + w) e_c - w e_0`, which is s = 1 + w: `from_tutorial_weight`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from distill3d.diffusion.condition import Condition, concatenate
from distill3d.diffusion.prediction import Kind, Prediction
from distill3d.diffusion.prior import Prior

Scale = float | Tensor  # one for the batch, or [B]


def from_tutorial_weight(w: float) -> float:
    """The scale s that the weight w of the tutorial and of Ho and Salimans 2022 stands for: 1 + w."""
    return 1.0 + w


def branches(prior: Prior, x_t: Tensor, t: Tensor, conditions: Sequence[Condition]) -> list[Prediction]:
    """One prediction a condition for the same `x_t` [B, C, h, w] and `t` [B], from one batched network call."""
    n, batch = len(conditions), x_t.shape[0]
    if n == 1:
        return [prior.denoise(x_t, t, conditions[0].expand(batch))]
    x_all, t_all = x_t.repeat(n, *[1] * (x_t.ndim - 1)), t.repeat(n)
    both = prior.denoise(x_all, t_all, concatenate(conditions, batch))
    return [both.rows(slice(i * batch, (i + 1) * batch)) for i in range(n)]


def mixture(predictions: Sequence[Prediction], coefficients: Sequence[Scale]) -> Prediction:
    """Sum of predictions of the same x_t, times coefficients that add up to 1, for the batch or for each picture.

    A learned variance is not mixed: it is that of the last, the condition's own, as in DeepFloyd IF's pipeline.
    """
    first = predictions[0]
    if len(predictions) == 1 and not isinstance(coefficients[0], Tensor) and coefficients[0] == 1:
        return first
    shaped = [_shaped(c, first.x_t) for c in coefficients]
    clean = torch.stack([c * p.clean for c, p in zip(shaped, predictions, strict=True)]).sum(0)
    noise = torch.stack([c * p.noise for c, p in zip(shaped, predictions, strict=True)]).sum(0)
    return predictions[-1].moved(clean, noise)


def guided(
    prior: Prior,
    x_t: Tensor,
    t: Tensor,
    conditions: Condition | Sequence[Condition],
    scales: Scale | Sequence[Scale],
    interval: tuple[float, float] | None = None,
    rescale: float = 0.0,
) -> Prediction:
    """Classifier-free guidance (Ho and Salimans 2022) towards one condition or several (Liu et al. 2022).

    `e = e_0 + sum_i s_i (e_i - e_0)`, with e_0 the first condition's `unconditional` branch (a negative prompt, where
    one is given, stands there). Branches whose coefficient is zero are not evaluated: one network call of B pictures
    at scale 1, of 2 B otherwise.

    Args:
        x_t: [B, C, h, w].
        t: [B] integers.
        conditions: one, or a sequence that shares the first one's unconditional branch.
        scales: one a condition, a number or [B].
        interval: shares of the schedule between which there is guidance (Kynkaanniemi et al. 2024); at other times
            the last condition stands alone.
        rescale: as for `rescaled`, towards the last condition alone.
    """
    conditions = [conditions] if isinstance(conditions, Condition) else list(conditions)
    scales = list(scales) if isinstance(scales, Sequence) else [scales]
    if len(conditions) != len(scales):
        raise ValueError(f"{len(conditions)} conditions need as many scales, got {len(scales)}")
    plain: list[Scale] = [*[0.0] * (len(scales) - 1), 1.0]
    if interval is not None:
        scales = _inside(interval, t, len(prior.schedule), scales, plain)
    coefficients = [1.0 - sum(scales), *scales]
    if not _used(coefficients[0]):
        coefficients = coefficients[1:]
    elif conditions[0].unconditional is None:
        raise ValueError("a scale other than 1 needs a condition that knows its unconditional branch")
    else:
        conditions, plain = [conditions[0].unconditional, *conditions], [0.0, *plain]
    used = [i for i, c in enumerate(coefficients) if _used(c)]
    if rescale and len(used) > 1 and used[-1] != len(coefficients) - 1:
        used.append(len(coefficients) - 1)  # its scale is 0, but its contrast is wanted
    parts = branches(prior, x_t, t, [conditions[i] for i in used])
    mixed = mixture(parts, [coefficients[i] for i in used])
    if not rescale or len(used) == 1:
        return mixed
    return rescaled(mixed, mixture(parts, [plain[i] for i in used]), rescale)


def chained(
    prior: Prior, x_t: Tensor, t: Tensor, conditions: Sequence[Condition], scales: Sequence[Scale]
) -> Prediction:
    """Guidance along a chain of conditions that each know more than the last: `e_0 + sum_i s_i (e_i - e_(i-1))`.

    InstructPix2Pix (Brooks et al. 2023, eq. 3) is the chain nothing, picture, picture and instruction with the scales
    1.5 and 7.5. Equal scales are plain guidance towards the last condition; all 1 is the last condition itself.

    Args:
        conditions: n + 1 of them, e_0 first; their own `unconditional` is not used.
        scales: n, a number or [B] each.
    """
    if len(conditions) != len(scales) + 1:
        raise ValueError(f"a chain of {len(conditions)} conditions needs {len(conditions) - 1} scales")
    coefficients = [a - b for a, b in zip([1.0, *scales], [*scales, 0.0], strict=True)]
    used = [i for i, c in enumerate(coefficients) if _used(c)]
    return mixture(branches(prior, x_t, t, [conditions[i] for i in used]), [coefficients[i] for i in used])


def rescaled(mixed: Prediction, plain: Prediction, share: float, of: Kind = "velocity") -> Prediction:
    """Guidance without its gain in contrast (Lin et al. 2023, eq. 15 and 16).

    Each picture of `mixed` is multiplied by share * std(plain) / std(mixed) + 1 - share, the standard deviations over
    the picture, so that a large scale does not overexpose it.

    Args:
        mixed, plain: the guided and the conditional prediction of the same x_t.
        share: 0 changes nothing, 1 gives the standard deviation of `plain`; 0.7 in the paper.
        of: what is multiplied: velocity as in the paper, or what the network predicts.
    """
    value = getattr(mixed, of)
    axes = tuple(range(1, value.ndim))
    before, wanted = (p.std(axes, keepdim=True) for p in (value, getattr(plain, of)))
    factor = share * wanted / before + (1 - share)
    scaled = Prediction.of(of, factor * value, mixed.x_t, mixed.alpha, mixed.sigma)
    return mixed.moved(scaled.clean, scaled.noise)


def guided_denoiser(
    prior: Prior,
    conditions: Condition | Sequence[Condition],
    scales: Scale | Sequence[Scale],
    interval: tuple[float, float] | None = None,
    rescale: float = 0.0,
) -> Callable[[Tensor, Tensor], Prediction]:
    """`guided` as the samplers call it: (x_t, t) to a prediction."""
    return lambda x_t, t: guided(prior, x_t, t, conditions, scales, interval, rescale)


def _inside(
    interval: tuple[float, float], t: Tensor, total: int, scales: list[Scale], plain: list[Scale]
) -> list[Scale]:
    """The scales at times within the interval, both ends included, and the plain ones elsewhere."""
    share = t.cpu() / total
    inside = (share >= interval[0]) & (share <= interval[1])
    if bool(inside.all()):
        return scales
    if not bool(inside.any()):
        return plain
    as_tensor = partial(torch.as_tensor, dtype=torch.float64, device="cpu")
    return [torch.where(inside, as_tensor(s), as_tensor(p)) for s, p in zip(scales, plain, strict=True)]


def _used(coefficient: Scale) -> bool:
    return bool(coefficient.any()) if isinstance(coefficient, Tensor) else coefficient != 0


def _shaped(coefficient: Scale, like: Tensor) -> Scale:
    if not isinstance(coefficient, Tensor):
        return coefficient
    return coefficient.to(like).reshape((-1,) + (1,) * (like.ndim - 1))
