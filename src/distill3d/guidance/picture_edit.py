"""A picture changed by score distillation: the two dimensions in which DDS and PDS were published first.

The picture itself, in the prior's space, is what is optimised: there is no renderer, and plain gradient descent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from distill3d.diffusion.condition import Condition
from distill3d.diffusion.picture_space import as_bool, mask_to_space, to_space
from distill3d.diffusion.prior import Prior
from distill3d.diffusion.walk import standard_normal
from distill3d.guidance.editing import delta, seen_in_both, way_back
from distill3d.guidance.posterior import Reading
from distill3d.guidance.sds import look, residual

PictureMethod = Literal["dds", "pds", "sds"]
PICTURE_METHODS: tuple[PictureMethod, ...] = get_args(PictureMethod)


@dataclass(frozen=True)
class PictureEdit:
    """How a picture is edited.

    Args:
        method: dds (Hertz et al. 2023, eq. 3), pds (Koo et al. 2024, eq. 12, each time's gradient divided by chi, so
            that both methods take steps of one size), or sds, the baseline that knows no source.
        weighting: of the differences: "uniform" as DDS is published, or "clean", for priors whose clean pictures have
            limits.
        timesteps: shares of the schedule, of which every step draws one.
        rate: of gradient descent. DDS's published code has 0.1 x 2000 / (64 x 64) for latents of 64 x 64.
        identity: a factor on the way back of PDS; 1 as published. reading, stride: see `guidance.posterior`.
    """

    method: PictureMethod
    cfg_scale: float = 7.5
    weighting: Literal["uniform", "clean"] = "uniform"
    timesteps: tuple[float, float] = (0.05, 0.95)
    rate: float = 0.05
    identity: float = 1.0
    reading: Reading = "strided"
    stride: int = 2

    @classmethod
    def suited_to(cls, prior: Prior, method: PictureMethod, cfg_scale: float | None, strength: float) -> PictureEdit:
        """Published settings for latents; for a prior of pixels those that the embedded one needs (see
        `configs/edit-*.yaml`): it saturates at large scales, and its clean pictures cannot overshoot.

        Args:
            cfg_scale: None takes the prior's. strength: the upper end of the times, as a share of the published one.
        """
        pixels = prior.clip_range is not None
        low, high = (0.2, 0.98) if pixels else (0.05, 0.95)
        times = (min(low, strength * high), strength * high)
        scale = (3.0 if pixels else 7.5) if cfg_scale is None else cfg_scale
        if pixels:
            return cls(method, scale, "clean", times, 0.05, 0.3)
        return cls(method, scale, "uniform", times)


def gradient(
    prior: Prior,
    x: Tensor,
    source: Tensor,
    t: Tensor,
    noise: Tensor,
    target_text: Condition,
    source_text: Condition,
    how: PictureEdit,
) -> Tensor:
    """Which way the picture should not go, [B, c, h, w]: `x - rate * gradient` is the next one.

    Args:
        x, source, noise: [B, c, h, w]. t: [B].
    Returns:
        exactly zero for DDS and PDS where picture and text are the source's.
    """
    clip = prior.clip_range is not None
    if how.method == "sds":
        return residual(look(prior, x, t, noise, target_text, how.cfg_scale, clip), x, noise, how.weighting)
    seen = seen_in_both(prior, (x, source), t, noise, (target_text, source_text), how.cfg_scale, clip)
    change = delta(x, source, *seen, how.weighting)
    if how.method == "dds":
        return change
    share = how.identity * way_back(prior.schedule, t, how.weighting, how.stride, how.reading)
    return change + share.reshape(-1, *[1] * (x.ndim - 1)).to(x) * (x - source)


@torch.no_grad()
def edit_picture(
    prior: Prior,
    images: Tensor,
    target_text: Condition,
    source_text: Condition,
    how: PictureEdit,
    steps: int,
    keep_mask: Tensor | None = None,
    generator: torch.Generator | None = None,
    callback: Callable[[int], object] | None = None,
) -> Tensor:
    """Pictures [B, H, W, C] in 0..1, changed from what one text says into what the other does.

    Args:
        target_text, source_text: one item for each picture, with their unconditional branches.
        steps: of gradient descent, each at one time of the schedule and under one noise a picture.
        keep_mask: [B or 1, H, W], True (or above a half) is kept as it was.
        generator: of times and noise, on the CPU. callback: is told each step's number.
    Returns:
        [B, H, W, C] in 0..1; the very pictures where nothing pulled.
    Raises:
        UserError: pictures or a mask that the prior cannot take.
    """
    source = to_space(prior, images)
    kept = None if keep_mask is None else mask_to_space(prior, keep_mask)
    low, high = (max(prior.schedule.fraction(share), how.stride) for share in how.timesteps)
    x = source.clone()
    for step in range(steps):
        t = torch.randint(low, high + 1, (len(x),), generator=generator).to(x.device)
        noise = standard_normal(x, generator)
        pull = gradient(prior, x, source, t, noise, target_text, source_text, how)
        x = x - how.rate * (pull if kept is None else pull.masked_fill(kept, 0))
        if callback is not None:
            callback(step)
    if torch.equal(x, source):
        return images
    made = prior.decode(x).clamp(0, 1)
    return made if keep_mask is None else torch.where(as_bool(keep_mask)[..., None], images, made)
