"""Pictures and masks of a person into a prior's space, refused where they do not fit."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.diffusion.prior import Prior


def to_space(prior: Prior, images: Tensor) -> Tensor:
    """Pictures [B, H, W, C] in 0..1 as x [B, c, h, w].

    Raises:
        UserError: another size or another number of channels than the prior's.
    """
    wanted = (prior.resolution, prior.resolution, prior.channels)
    if images.ndim != 4 or tuple(images.shape[1:]) != wanted:
        raise UserError(f"the prior takes pictures {_named(wanted)}, got {_named(tuple(images.shape[1:]))}")
    return prior.encode(images)


def mask_to_space(prior: Prior, keep_mask: Tensor) -> Tensor:
    """A mask of pixels [B or 1, H, W] as one of the prior's space, bool [B or 1, c or 1, h, w]; True is kept.

    Where the space is a rearrangement of pixels, every pixel's own numbers are masked. A cell of a latent space is
    kept if all of its pixels are.

    Args:
        keep_mask: bool, or numbers of which those above a half are True.

    Raises:
        UserError: another size than the prior's pictures.
    """
    size = prior.resolution
    if keep_mask.ndim != 3 or tuple(keep_mask.shape[1:]) != (size, size):
        got = " x ".join(map(str, keep_mask.shape[1:]))
        raise UserError(f"the mask is {got} pixels, the prior's pictures are {size} x {size}")
    mask = as_bool(keep_mask).float()[:, None]
    _, c, h, _ = prior.x_shape(1)
    cell = size // h
    if c == prior.channels * cell**2:
        return F.pixel_unshuffle(mask.expand(-1, prior.channels, -1, -1), cell) > 0.5
    return -F.max_pool2d(-mask, cell) > 0.5


def as_bool(keep_mask: Tensor) -> Tensor:
    """A mask as True and False."""
    return keep_mask if not keep_mask.is_floating_point() else keep_mask > 0.5


def _named(shape: tuple[int, ...]) -> str:
    if len(shape) != 3:
        return f"of shape {list(shape)}"
    kind = {1: "grey", 3: "RGB", 4: "RGBA"}.get(shape[2], f"{shape[2]} channels")
    return f"of {shape[1]} x {shape[0]} pixels, {kind}"
