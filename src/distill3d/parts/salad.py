"""SALAD's denoisers (Koo et al. 2023): one for the set of Gaussians, one for what the parts hold, given the Gaussians.

Both are transformers over the parts that do not know their order. The sentence's words stand beside the parts as
further members of the set, and the time sets the scale and shift of every layer's normalisation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.schedule_families import linear_betas
from distill3d.parts.gaussians import SIZE
from distill3d.parts.words import WordEncoder


@dataclass(frozen=True)
class SaladSizes:
    """Sizes of one denoiser (512 wide in the paper)."""

    intrinsics: int = 32
    width: int = 128
    depth: int = 5
    heads: int = 4


def salad_schedule() -> NoiseSchedule:
    """1000 steps, linear from 1e-4 to 0.05 (published)."""
    return NoiseSchedule.from_betas(linear_betas(1000, 1e-4, 0.05))


class SetDenoiser(nn.Module):
    """Noise in a set x_t [B, P, channels], given a sentence and, per member, further numbers [B, P, given].

    Members may be known: they are given clean, with a flag, and the others are made to fit them. (SALAD completes
    shapes with a denoiser that never saw a part that is kept, by noising the kept parts as far as the others.)
    """

    def __init__(self, channels: int, given: int, sizes: SaladSizes, vocabulary: tuple[str, ...]) -> None:
        super().__init__()
        width = sizes.width
        self.text = WordEncoder(vocabulary, width)
        self.enter = nn.Linear(channels + given + 1, width)  # the last says which members are known
        self.time = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(TimedBlock(width, sizes.heads) for _ in range(sizes.depth))
        last = nn.Linear(width, channels)
        nn.init.zeros_(last.weight)
        self.leave = nn.Sequential(nn.LayerNorm(width), last)

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        sentences: list[list[str]],
        given: Tensor | None = None,
        known: Tensor | None = None,
        there: Tensor | None = None,
    ) -> Tensor:
        """The noise, shaped like x_t; that of known members is of no use.

        Args:
            t: [B]. sentences: lists of words.
            known: [B, P] bool, the members that x_t holds clean; none where left out.
            there: [B, P] bool, which members are no padding; all where left out.
        """
        words, counted = self.text(sentences)
        flag = x_t.new_zeros(x_t.shape[:2]) if known is None else known.to(x_t)
        x = self.enter(torch.cat([x_t, *([] if given is None else [given]), flag[..., None]], -1))
        length = x.shape[1]
        time = self.time(waves(t).to(x))
        there = counted.new_ones(x.shape[:2]) if there is None else there
        seen = torch.cat([there, counted], 1)[:, None, None]
        x = torch.cat([x, words], 1)
        for block in self.blocks:
            x = block(x, time, seen)
        return self.leave(x[:, :length])


class TimedBlock(nn.Module):
    """Self-attention and a two-layer network whose normalisations the time scales and shifts (Peebles and Xie 2023)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.time = nn.Linear(width, 6 * width)
        self.attend = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.think = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        nn.init.zeros_(self.time.weight)
        nn.init.zeros_(self.time.bias)

    def forward(self, x: Tensor, time: Tensor, seen: Tensor) -> Tensor:
        """x [B, L, width], time [B, width], seen [B, 1, 1, L] bool: which members are listened to."""
        scale, shift, gate, scale_2, shift_2, gate_2 = self.time(functional.silu(time))[:, None].chunk(6, -1)
        h = self.attend(_normalised(x) * (1 + scale) + shift)
        query, key, value = (v.unflatten(-1, (self.heads, -1)).transpose(1, 2) for v in h.chunk(3, -1))
        h = functional.scaled_dot_product_attention(query, key, value, seen)
        x = x + (1 + gate) * self.attended(h.transpose(1, 2).flatten(2))
        return x + (1 + gate_2) * self.think(_normalised(x) * (1 + scale_2) + shift_2)


class Salad(nn.Module):
    """Both phases, and the scales that they see their numbers in.

    Args:
        single: one denoiser of both at once, twice as deep: the paper's ablation.
    """

    def __init__(self, sizes: SaladSizes, vocabulary: tuple[str, ...], single: bool = False) -> None:
        super().__init__()
        self.sizes, self.vocabulary, self.single = sizes, vocabulary, single
        if single:
            deep = SaladSizes(sizes.intrinsics, sizes.width, 2 * sizes.depth, sizes.heads)
            self.both = SetDenoiser(SIZE + sizes.intrinsics, 0, deep, vocabulary)
        else:
            self.extrinsics = SetDenoiser(SIZE, 0, sizes, vocabulary)
            self.intrinsics = SetDenoiser(sizes.intrinsics, SIZE, sizes, vocabulary)
        self.scales = Scales(sizes.intrinsics)


class Scales(nn.Module):
    """Mean and standard deviation of every column of the training set's numbers."""

    def __init__(self, intrinsics: int) -> None:
        super().__init__()
        for name, size in (("extrinsics", SIZE), ("intrinsics", intrinsics)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))

    def measure(self, extrinsics: Tensor, intrinsics: Tensor) -> None:
        """From the training set, [K, P, 16] and [K, P, d]."""
        for name, values in (("extrinsics", extrinsics), ("intrinsics", intrinsics)):
            flat = values.flatten(0, 1)
            getattr(self, f"{name}_mean").copy_(flat.mean(0))
            getattr(self, f"{name}_std").copy_(flat.std(0).clamp(min=1e-3))

    def normalised(self, name: str, values: Tensor) -> Tensor:
        """ "extrinsics" or "intrinsics" in units in which the training set has mean 0 and standard deviation 1."""
        return (values - getattr(self, f"{name}_mean")) / getattr(self, f"{name}_std")

    def restored(self, name: str, values: Tensor) -> Tensor:
        """The inverse of `normalised`."""
        return values * getattr(self, f"{name}_std") + getattr(self, f"{name}_mean")


def waves(t: Tensor) -> Tensor:
    """Times [B] as 64 sines and cosines."""
    frequency = torch.exp(torch.arange(32, device=t.device) * (-math.log(10_000) / 32))
    angle = t[:, None].float() * frequency
    return torch.cat([angle.sin(), angle.cos()], -1)


def _normalised(x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:])
