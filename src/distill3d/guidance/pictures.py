"""What a prior is shown of a rendering."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from distill3d.core.rendering import Rendering
from distill3d.diffusion.prior import Prior


def shown(rendering: Rendering, prior: Prior) -> Tensor:
    """The pictures that a prior is asked about, at its resolution: [B, R, R, 3 or 4] in 0..1, differentiable.

    A prior with alpha sees the colour over its own grey background, and the coverage. The colour without any
    background is taken from `rendering.extras["foreground"]` [B, H, W, 3]; where that is missing,
    `rendering.rgb` has to be composited over `prior.background` already. A prior without alpha sees `rendering.rgb`.
    """
    if not prior.sees_alpha:
        return resized(rendering.rgb, prior.resolution)
    rgb = rendering.rgb
    if "foreground" in rendering.extras:
        rgb = rendering.extras["foreground"] + (1 - rendering.alpha) * (prior.background or 0.0)
    return resized(torch.cat([rgb, rendering.alpha], -1), prior.resolution)


def resized(images: Tensor, size: int) -> Tensor:
    """[B, H, W, C] to [B, size, size, C], bilinear with antialiasing; unchanged where the size is right."""
    if images.shape[1:3] == (size, size):
        return images
    pixels = images.permute(0, 3, 1, 2)
    return F.interpolate(pixels, (size, size), mode="bilinear", antialias=True).permute(0, 2, 3, 1)


def presentable(prior: Prior, x: Tensor) -> Tensor:
    """[B, c, h, w] of the prior's space as colour pictures [B, H, W, 3] in 0..1, for previews."""
    return prior.decode(x)[..., :3].clamp(0, 1)
