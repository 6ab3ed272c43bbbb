"""Where a denoiser would paint otherwise if some words were others: DiffEdit (Couairon et al. 2022, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from distill3d.diffusion.base import Prior
from distill3d.diffusion.condition import Condition
from distill3d.diffusion.latents import LatentCodec


@torch.no_grad()
def difference_of(prior: Prior, x_t: Tensor, t: Tensor, told: Condition, others: Sequence[Condition]) -> Tensor:
    """|prediction under one text - prediction under another|, summed over channels, mean over the others: [B, h, w].

    Of clean pictures, which at one t is DiffEdit's difference of noises times a number. A prior of pixels is asked at
    the size of its pictures, a latent one at the size of its latents.

    Args:
        x_t: [B, c, h, w]; t: [B]. told: the text with the words; others: the text with something else for them.
    """
    clean = prior.denoise(x_t, t, told).clean
    total = torch.zeros(())
    for other in others:
        apart = clean - prior.denoise(x_t, t, other).clean
        if not isinstance(getattr(prior, "codec", None), LatentCodec):
            nothing = prior.decode(torch.zeros_like(apart))
            apart = (prior.decode(apart) - nothing).permute(0, 3, 1, 2)  # decoding pixels is affine
        total = total.to(apart) + apart.abs().sum(1)
    return total / len(others)
