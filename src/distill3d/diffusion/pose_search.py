"""What a picture shows and from where, by asking a prior which caption and which side explain it best.

A denoiser told rightly denoises best: its error over noise levels bounds the picture's likelihood, which makes a
classifier of any conditional diffusion model (Li et al. 2023, "Your diffusion model is secretly a zero-shot
classifier", eq. 4). A text-image encoder chooses the captions that come into question, the denoiser decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.text_image import TextImageEncoder

LEVELS = (0.5, 0.7, 0.85)  # shares of the schedule at which guesses are compared
GUESSES = 24  # that the denoiser is asked about; the mean picture chooses them from all

Clean = Callable[[Tensor, Tensor, Sequence[str], Tensor], Tensor]
Mean = Callable[[Sequence[str], Tensor], Tensor]


@dataclass(frozen=True)
class Sight:
    """A guess: what the picture shows, and the azimuth of its camera in radians, counted from the thing's front."""

    caption: str
    azimuth: float


def likely_captions(encoder: TextImageEncoder, picture: Tensor, captions: Sequence[str], count: int = 4) -> list[str]:
    """The captions nearest to a picture [H, W, 3] in 0..1 in the encoder's space, nearest first."""
    near = encoder.texts(captions) @ encoder.pictures(picture[None])[0]
    return [captions[i] for i in near.topk(min(count, len(captions))).indices.tolist()]


@torch.no_grad()
def find_sight(
    x0: Tensor, captions: Sequence[str], clean: Clean, mean: Mean, schedule: NoiseSchedule, turns: int = 24
) -> Sight:
    """The caption and the azimuth under which a picture is the likeliest.

    Args:
        x0: [C, h, w], the picture in the prior's space.
        captions: that come into question.
        clean: (x_t, t, captions, azimuths) to the clean pictures that the denoiser sees in them, for B guesses.
        mean: (captions, azimuths) to the mean pictures that fit the guesses, which is quick and rough.
        turns: azimuths that are tried of each caption; around the best a finer look follows.
    """
    around = torch.arange(turns) * (2 * math.pi / turns)
    said = [caption for caption in captions for _ in range(turns)]
    azimuths = around.repeat(len(captions)).to(x0)
    rough = (mean(said, azimuths) - x0).square().flatten(1).mean(1)
    kept = rough.topk(min(GUESSES, len(said)), largest=False).indices.tolist()
    said, azimuths = [said[i] for i in kept], azimuths[kept]
    best = int(errors(x0, said, azimuths, clean, schedule).argmin())
    finer = azimuths[best] + torch.linspace(-1, 1, 5).to(x0) * (math.pi / turns)
    closest = int(errors(x0, [said[best]] * 5, finer, clean, schedule).argmin())
    return Sight(said[best], float(torch.remainder(finer[closest] + math.pi, 2 * math.pi) - math.pi))


def errors(
    x0: Tensor, captions: Sequence[str], azimuths: Tensor, clean: Clean, schedule: NoiseSchedule, noises: int = 2
) -> Tensor:
    """Each guess's squared error of the clean picture, [B], under the same noise, over some levels of it."""
    total, guesses = torch.zeros(len(captions)).to(x0), len(captions)
    generator = torch.Generator().manual_seed(0)
    for level in LEVELS:
        for _ in range(noises):
            noise = torch.randn(x0.shape, generator=generator).to(x0)
            t = torch.full((guesses,), schedule.fraction(level), device=x0.device)
            alpha, sigma = schedule.at(t, x0.expand(guesses, *x0.shape))
            total += (clean(alpha * x0 + sigma * noise, t, captions, azimuths) - x0).square().flatten(1).mean(1)
    return total / (len(LEVELS) * noises)
