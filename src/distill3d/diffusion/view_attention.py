"""Attention over the views of one thing, beside a network that was made for single pictures.

MVDream (Shi et al. 2024, section 3.1) makes the network's own self-attention joint over the views. Where that has no
say in the picture, as in the embedded prior, there is nothing to make joint. These are layers of their own behind
residual blocks, zero at first, while the network stands still: what MV-Adapter does (Huang et al. 2024, section 4.2),
there beside the network's attention, here behind its residual blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_HARMONICS = (1, 2, 4)  # of the place in the picture
_TINY = 1e-6


class ViewAttention(nn.Module):
    """Every place of every view asks all places of all views of its group.

    It reads the features behind a block and, beside them, those behind the network's first layer: there the noisy picture
    is whole, and further in the network keeps only what it needs of it.

    Args:
        channels: of the features, C. seen: of those behind the first layer, S.
        told: size of what a residual block is told of noise level, camera and text, D.
        heads: of attention, with `width` channels each.
    """

    def __init__(self, channels: int, seen: int, told: int, heads: int = 4, width: int = 24) -> None:
        super().__init__()
        read, inside = channels + seen, heads * width
        self.heads = heads
        self.place = nn.Linear(4 * len(_HARMONICS), read)
        self.hear = nn.Linear(told, inside // 2)
        self.told = nn.Linear(inside // 2, 2 * read)
        self.ask = nn.Linear(read, 3 * inside, bias=False)
        self.weigh = nn.Linear(read + inside, 2 * inside)
        self.answer = nn.Linear(2 * inside, channels)
        for start in (self.told, self.answer):
            nn.init.zeros_(start.weight)
            nn.init.zeros_(start.bias)

    def forward(self, features: Tensor, seen: Tensor, told: Tensor, views: int) -> Tensor:
        """features [B, C, h, w] with B a multiple of `views`, seen [B, S, H, W], told [B, D]; features [B, C, h, w]."""
        batch, channels, height, width = features.shape
        if batch % views:
            raise ValueError(f"{batch} pictures are no whole number of groups of {views} views")
        size = mean_size(features)  # a hundred times larger here than there
        seen = F.adaptive_avg_pool2d(seen / (mean_size(seen) + _TINY), (height, width))
        tokens = torch.cat([features / (size + _TINY), seen], 1).flatten(2).transpose(1, 2)
        known = F.silu(self.hear(F.layer_norm(F.silu(told), told.shape[1:])))
        scale, shift = self.told(known)[:, None].chunk(2, -1)
        tokens = (tokens + self.place(places(height, width).to(tokens))) * (1 + scale) + shift
        asked = self.ask(tokens).reshape(batch // views, views * height * width, 3, self.heads, -1)
        query, key, value = asked.permute(2, 0, 3, 1, 4)
        heard = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(batch, height * width, -1)
        answer = self.answer(F.silu(self.weigh(torch.cat([tokens, heard], -1))))  # a place makes of it what it needs
        return features + size * answer.transpose(1, 2).reshape(batch, channels, height, width)


def mean_size(features: Tensor) -> Tensor:
    """Root mean square of each picture's features, [B, 1, 1, 1]."""
    return features.square().mean((1, 2, 3), keepdim=True).sqrt()


def places(height: int, width: int) -> Tensor:
    """Sines and cosines of where each place is in the picture, [height width, 12]."""
    y, x = ((torch.arange(n) + 0.5) / n for n in (height, width))
    spot = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2)
    angles = torch.cat([math.pi * k * spot for k in _HARMONICS], -1)
    return torch.cat([angles.sin(), angles.cos()], -1)


class ViewAttentions(nn.Module):
    """A `ViewAttention` behind every residual block after the middle of a `UNet2DConditionModel`."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(
            {
                name: ViewAttention(block.out_channels, unet.conv_in.out_channels, block.time_emb_proj.in_features)
                for name, block in upward_blocks(unet).items()
            }
        )


def upward_blocks(unet: Any) -> dict[str, Any]:
    """The residual blocks after the middle, by level and place: "0-0", "0-1" ..."""
    return {f"{i}-{j}": block for i, level in enumerate(unet.up_blocks) for j, block in enumerate(level.resnets)}


def attend(unet: Any, attentions: ViewAttentions, views: int) -> list[Any]:
    """Puts the layers behind their blocks, so that `views` pictures that follow each other see each other; returns the
    handles that take them away."""

    first: dict[str, Tensor] = {}

    def see(layer: nn.Module, given: Any, features: Tensor) -> None:
        first["seen"] = features

    def behind(layer: nn.Module) -> Any:
        return lambda block, given, features: layer(features, first["seen"], given[1], views)

    blocks = upward_blocks(unet)
    handles = [unet.conv_in.register_forward_hook(see)]
    return handles + [blocks[name].register_forward_hook(behind(layer)) for name, layer in attentions.layers.items()]


@contextmanager
def attending(unet: Any, attentions: ViewAttentions | None, views: int) -> Iterator[None]:
    """The same for a while; None changes nothing."""
    handles = [] if attentions is None else attend(unet, attentions, views)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
