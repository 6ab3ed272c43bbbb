"""What pictures are shown over, and how they are cut, before a text-image encoder sees them (Jain et al. 2022).

An encoder that sees a scene over one background only can be satisfied by fog that goes with it. Dream Fields shows
every view over another one, of noise, a checkerboard or a random texture, blurred by a random amount, and cuts it at
random. The embedded encoder is trained on pictures that were treated in the same way.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

KINDS = ("plain", "noise", "checkerboard", "texture")


def random_backdrops(count: int, size: int, generator: torch.Generator, kinds: tuple[str, ...] = KINDS) -> Tensor:
    """[count, 3, size, size] in 0..1, each of a kind of its own, blurred by its own random amount."""
    which = (len(kinds) * _uniform(generator, count)).long().tolist()
    drawn = torch.stack([_DRAW[kinds[i]](size, generator) for i in which])
    return blurred(drawn, (size / 10) * _uniform(generator, count))


def over(foreground: Tensor, alpha: Tensor, backdrop: Tensor) -> Tensor:
    """Colour times coverage [B, 3, H, W] and coverage [B, 1, H, W], over backdrops [B, 3, H, W]."""
    return foreground + (1 - alpha) * backdrop


def random_windows(count: int, generator: torch.Generator, scale: tuple[float, float], move: float) -> Tensor:
    """Cuts for `cut`: [count, 2, 3] maps of the result's square onto the picture's, both -1..1.

    Args:
        scale: least and most side of the window, in sides of the picture; above 1 looks beyond its border.
        move: the most that its centre is off the picture's, in half sides.
    """
    side = scale[0] + (scale[1] - scale[0]) * _uniform(generator, count)
    centre = move * (2 * _uniform(generator, count, 2) - 1)
    windows = torch.zeros(count, 2, 3, device=generator.device)
    windows[:, 0, 0] = windows[:, 1, 1] = side
    windows[:, :, 2] = centre
    return windows


def cut(pictures: Tensor, windows: Tensor, size: int) -> Tensor:
    """The windows [B, 2, 3] of pictures [B, C, H, W], bilinear, zero beyond the border: [B, C, size, size].

    Made for premultiplied RGBA before it is laid over a backdrop: beyond the border there is nothing.
    """
    grid = F.affine_grid(windows.to(pictures), [len(pictures), pictures.shape[1], size, size], align_corners=False)
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def blurred(pictures: Tensor, sigma: Tensor) -> Tensor:
    """Pictures [B, C, H, W] under a Gaussian of `sigma` [B] pixels each, the border repeated; 0 changes nothing."""
    reach = math.ceil(2.5 * float(sigma.max()))
    if reach == 0:
        return pictures
    offsets = torch.arange(-reach, reach + 1, dtype=pictures.dtype, device=pictures.device)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None].clamp(min=1e-3)).square())
    kernel = kernel / kernel.sum(1, keepdim=True)
    batch, channels, height, width = pictures.shape
    rows = kernel.repeat_interleave(channels, 0)  # one for each plane
    planes = F.pad(pictures, (reach,) * 4, mode="replicate")
    planes = planes.reshape(1, batch * channels, height + 2 * reach, width + 2 * reach)
    planes = F.conv2d(planes, rows[:, None, None, :], groups=batch * channels)
    planes = F.conv2d(planes, rows[:, None, :, None], groups=batch * channels)
    return planes.reshape(pictures.shape)


def _uniform(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator, device=generator.device)


def _plain(size: int, generator: torch.Generator) -> Tensor:
    return _uniform(generator, 3, 1, 1).expand(3, size, size)


def _noise(size: int, generator: torch.Generator) -> Tensor:
    return (0.5 + 0.2 * torch.randn(3, size, size, generator=generator, device=generator.device)).clamp(0, 1)


def _checkerboard(size: int, generator: torch.Generator) -> Tensor:
    colors = _uniform(generator, 2, 3, 1, 1)
    tile = max(1, int(size * (0.05 + 0.2 * float(_uniform(generator, 1)))))
    shift = (2 * tile * _uniform(generator, 2, 1)).long()
    cells = (torch.arange(size, device=generator.device) + shift) // tile
    odd = (cells[0][:, None] + cells[1]) % 2
    return torch.where(odd.bool(), colors[0], colors[1])


def _texture(size: int, generator: torch.Generator) -> Tensor:
    """A few waves in every channel: the random Fourier texture of the paper, of low frequencies."""
    grid = torch.arange(size, device=generator.device) / size * 2 * math.pi
    frequency = (9 * _uniform(generator, 3, 6, 2)).floor() - 4  # whole waves, at most 4 across the picture
    phase = 2 * math.pi * _uniform(generator, 3, 6)
    angle = frequency[..., :1, None] * grid[:, None] + frequency[..., 1:, None] * grid + phase[..., None, None]
    waves = angle.cos().sum(1)
    level = _uniform(generator, 3, 1, 1)
    return (level + 0.12 * waves).clamp(0, 1)


_DRAW = {"plain": _plain, "noise": _noise, "checkerboard": _checkerboard, "texture": _texture}
