"""What several noisy views of one thing say together about each of its pictures.

A `Canvas` paints the mean of all pictures that text and camera fit, and the denoiser sees it beside the noisy picture.
Attention over the views (MVDream, Shi et al. 2024, section 3.1) makes of it the mean of those that fit what all views
show as well: of a chair that nobody named a colour for, one view at noise level 0.97 says little, four say more. At
such levels the embedded denoiser draws what the canvas shows, while its own self-attention has no say in the picture:
here is where views can be heard.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distill3d.core.errors import UserError
from distill3d.diffusion.folder import aligned
from distill3d.diffusion.tensor_file import TensorFile

_CELLS = 2  # of the picture in the prior's space that become a token, along one side
_HARMONICS = (1, 2, 4)  # of the place in the picture
_VARIANCE = 0.1  # of a picture around its canvas, about


class JointBlock(nn.Module):
    """Attention over the tokens of all views of a group, then a small network a token; what is told modulates both."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.told = nn.Linear(width, 4 * width)
        self.ask = nn.Linear(width, 3 * width, bias=False)
        self.answer = nn.Linear(width, width)
        self.think = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor, told: Tensor, views: int) -> Tensor:
        """tokens [B, L, D] with B a multiple of `views`, told [B, D]; tokens [B, L, D]."""
        batch, length, width = tokens.shape
        scale, shift, scale_2, shift_2 = self.told(told)[:, None].chunk(4, -1)
        asked = self.ask(F.layer_norm(tokens, (width,)) * (1 + scale) + shift)
        query, key, value = asked.reshape(batch // views, views * length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        heard = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(batch, length, width)
        tokens = tokens + self.answer(heard)
        return tokens + self.think(F.layer_norm(tokens, (width,)) * (1 + scale_2) + shift_2)


class JointCanvas(nn.Module):
    """Noisy views and their canvases to better canvases; at first, to the same.

    Args:
        labels: length of the canvas's label vector: camera and pooled text.
        channels: of pictures in the prior's space.
    """

    def __init__(self, labels: int, channels: int, width: int = 128, heads: int = 4, depth: int = 3) -> None:
        super().__init__()
        inside = channels * _CELLS**2
        self.read = nn.Linear(2 * inside, width)
        self.place = nn.Linear(4 * len(_HARMONICS), width)
        self.told = nn.Sequential(nn.Linear(labels + 2, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.blocks = nn.ModuleList([JointBlock(width, heads) for _ in range(depth)])
        self.paint = nn.Linear(width, inside)
        nn.init.zeros_(self.paint.weight)
        nn.init.zeros_(self.paint.bias)

    def forward(self, x_t: Tensor, canvas: Tensor, labels: Tensor, alpha: Tensor, sigma: Tensor, views: int) -> Tensor:
        """The canvases of B pictures, of which `views` at a time show one thing.

        Args:
            x_t, canvas: [B, C, h, w]. labels: [B, labels]. alpha, sigma: [B, 1, 1, 1], of the noise schedule.
        Returns:
            [B, C, h, w].
        """
        batch, _, height, width = x_t.shape
        if batch % views:
            raise ValueError(f"{batch} pictures are no whole number of groups of {views} views")
        unknown = (x_t - alpha * canvas) / (alpha.square() * _VARIANCE + sigma.square()).sqrt()
        seen = F.pixel_unshuffle(torch.cat([unknown, canvas], 1), _CELLS).flatten(2).transpose(1, 2)
        level = torch.cat([alpha, (alpha / sigma).clamp(1e-3, 1e3).log() / 3], 1).flatten(1)
        told = self.told(torch.cat([labels, level], 1))
        tokens = self.read(seen) + self.place(places(height // _CELLS, width // _CELLS).to(seen))
        for block in self.blocks:
            tokens = block(tokens, told, views)
        change = self.paint(F.layer_norm(tokens, tokens.shape[-1:])).transpose(1, 2)
        return canvas + F.pixel_shuffle(change.reshape(batch, -1, height // _CELLS, width // _CELLS), _CELLS)


def places(height: int, width: int) -> Tensor:
    """Sines and cosines of where each place is in the picture, [height width, 12]."""
    y, x = ((torch.arange(n) + 0.5) / n for n in (height, width))
    spot = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2)
    angles = torch.cat([math.pi * k * spot for k in _HARMONICS], -1)
    return torch.cat([angles.sin(), angles.cos()], -1)


def save_attention(attention: nn.Module, path: Path) -> None:
    """Write a `JointCanvas` in half precision, under a temporary name first."""
    from safetensors.torch import save_file

    half = {name: weight.detach().cpu().half() for name, weight in attention.state_dict().items()}
    unfinished = path.with_name(path.name + ".partial")
    save_file(half, unfinished)
    os.replace(unfinished, path)


def load_attention(path: Path, canvas: Any, device: torch.device, dtype: torch.dtype) -> JointCanvas | None:
    """What `save_attention` has written, frozen; None where the file holds other weights.

    Args:
        canvas: the prior's own, which it paints over; None where the prior has none.
    Raises:
        UserError: the file is damaged, or is of another prior.
    """
    file = TensorFile(path)
    if not any(name.startswith("paint.") for name in file.shapes):
        return None
    made = None if canvas is None else JointCanvas(canvas.config.labels, canvas.config.channels)
    wanted = {} if made is None else made.state_dict()
    if (
        made is None
        or file.shapes.keys() != wanted.keys()
        or any(tuple(file.shapes[name]) != tuple(weight.shape) for name, weight in wanted.items())
    ):
        raise UserError(f"{path}: this attention over views belongs to another prior")
    made.load_state_dict({name: file.tensor(name) for name in wanted})
    frozen: JointCanvas = aligned(made.to(device, dtype)).eval().requires_grad_(False)
    return frozen
