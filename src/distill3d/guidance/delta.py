"""Delta denoising score (Hertz et al. 2023)."""

from __future__ import annotations

import torch
from torch import Tensor

from distill3d.diffusion.condition import Condition
from distill3d.diffusion.guided import guided
from distill3d.diffusion.prior import Prior


@torch.no_grad()
def delta_denoising(
    prior: Prior,
    x: Tensor,
    source: Tensor,
    t: Tensor,
    noise: Tensor,
    target_text: Condition,
    source_text: Condition,
    cfg_scale: float,
) -> Tensor:
    """Gradient of the delta denoising score with respect to `x` (Hertz et al. 2023, eq. 3).

    Score distillation of the target minus that of the source under the same noise: the part of the prediction that is
    wrong for both cancels, and what is left points from one text to the other.

    Args:
        x, source: target and source in the prior's space, [B, c, h, w].
        t, noise: one timestep for each picture, [B], and its noise, [B, c, h, w], shared by both branches.
        target_text, source_text: with their unconditional branches.
    Returns:
        [B, c, h, w]; zero where target and source agree in picture and text. No gradient flows through the prior.
    """
    add_noise = prior.schedule.add_noise
    target = guided(prior, add_noise(x, noise, t), t, target_text, cfg_scale)
    reference = guided(prior, add_noise(source, noise, t), t, source_text, cfg_scale)
    return target.noise - reference.noise
