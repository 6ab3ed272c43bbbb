"""`--region "the hat"`: where in space the words of a sentence are, by what the prior makes of views of the scene."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.diffusion.prior import Prior
from distill3d.diffusion.word_attention import attention_to, token_positions
from distill3d.diffusion.word_difference import difference_of
from distill3d.geometry.mask_lifting import OPAQUE, surface_points
from distill3d.geometry.view_votes import otsu, surface_scores, volume_of
from distill3d.guidance.pictures import resized, shown
from distill3d.renderers import Renderer
from distill3d.run.word_contrast import bare, contrasts

By = Literal["attention", "difference"]
BY: tuple[By, ...] = ("attention", "difference")
TIMES = (0.75, 0.9)  # of the schedule: there the words count for more than what is left of the picture
NOISES = 3  # at each of them
FINE = 160  # pixels of the pictures that the depth is read from
FOV, REACH = 0.785, 1.4  # of the views all around: an object that fills the unit ball is drawn as small as the embedded
# prior has seen toys; drawn larger, the tops of parts are missed
RINGS = ((8, 0.25, 0.0), (4, 0.95, 0.4))  # views, elevation and first azimuth in radians


@dataclass(frozen=True)
class WordScores:
    """A scene's surface with how much of the words each cell of it is.

    Args:
        cells: [M, 3], see `geometry.view_votes.surface_scores`. scores: [M]. threshold: of Otsu. maps: [V, F, F] of
            the views. depth: [V, F, F]; seen: [V, F, F] bool. cameras: V.
    """

    cells: Tensor
    scores: Tensor
    threshold: float
    maps: Tensor
    depth: Tensor
    seen: Tensor
    cameras: Cameras

    @property
    def chosen(self) -> Tensor:
        """[M] bool."""
        return self.scores > self.threshold

    def points(self, cell: float, radius: float) -> Tensor:
        """Of the volume that belongs to the chosen part of the surface, world, [N, 3]."""
        return volume_of(self.cells, self.chosen, cell, radius, self.depth, self.seen, self.cameras)


def usual_way(prior: Prior) -> By:
    """The embedded prior is asked by difference: what its attention knows of words is hardly a place (see
    docs/editing.md). It is the one that hears whole words alone; what takes words apart is asked by attention."""
    return "difference" if prior.unknown_words("zyxwvq") else "attention"


def all_around() -> Cameras:
    """The views of an object."""
    turn = [first + 2 * math.pi * k / count for count, _, first in RINGS for k in range(count)]
    high = [elevation for count, elevation, _ in RINGS for _ in range(count)]
    return Cameras.orbit(torch.tensor(turn), torch.tensor(high), REACH / math.tan(FOV / 2), FOV, FINE)


@torch.no_grad()
def word_scores(
    renderer: Renderer, prior: Prior, sentence: str, words: str, by: By, cameras: Cameras, cell: float, seed: int = 0
) -> WordScores:
    """How much of the words each part of a scene's surface is.

    Views are noised far, and the network is asked of each: how much its places attend to the
    words ("attention"), or how its picture changes when the sentence says something else for them ("difference", see
    `word_contrast`). Both are means over noises and times, of each view in units of its mean over the object. The
    score of a cell is the mean over the views that see it.

    Args:
        cameras: square pinholes, `FINE` pixels wide. cell: side of the surface's cells, world units.
    Raises:
        UserError: the sentence does not say the words, the prior does not know them, or no surface is seen.
    """
    unknown = prior.unknown_words(bare(words))
    if unknown:
        raise UserError(
            f"the prior does not know {', '.join(map(repr, unknown))}: name the region otherwise, or use mask=FILE"
        )
    drawn = [_drawn(renderer, cameras[k], prior) for k in range(len(cameras))]
    pictures, depth, alpha = (torch.cat(column) for column in zip(*drawn, strict=True))
    seen = alpha > OPAQUE
    if not bool(seen.any()):
        raise UserError("the scene shows no surface in any view: there is nothing to look for words on")
    ask = _asker(prior, sentence, bare(words), by, cameras)
    x = prior.encode(pictures)
    generator = torch.Generator(x.device).manual_seed(seed)
    total: Any = 0
    for time in TIMES:
        t = torch.full((len(x),), prior.schedule.fraction(time), device=x.device)
        for _ in range(NOISES):
            noise = torch.randn(x.shape, generator=generator, device=x.device)
            total = total + ask(prior.schedule.add_noise(x, noise, t), t)
    maps = F.interpolate(total[:, None].cpu(), (FINE, FINE), mode="bilinear", align_corners=False)[:, 0]
    mean = (maps * seen).sum((1, 2)) / seen.sum((1, 2)).clamp(min=1)
    maps = maps / mean.clamp(min=1e-12).view(-1, 1, 1)
    points = surface_points(depth[..., None], cameras)
    cells, scores = surface_scores(points, maps, seen & (points.norm(dim=-1) <= 1.5), cell)
    return WordScores(cells, scores, otsu(scores), maps, depth, seen, cameras)


def _asker(prior: Prior, sentence: str, words: str, by: By, cameras: Cameras) -> Any:
    """What is asked of x_t and t: a map [B, h, w]."""
    plain = torch.zeros(len(cameras))
    told = prior.condition(sentence, cameras, plain)
    if by == "difference":
        others = [prior.condition(text, cameras, plain) for text in contrasts(sentence, words)]
        return lambda x_t, t: difference_of(prior, x_t, t, told, others)
    text: Any = getattr(prior, "text", None)
    if text is None:
        raise UserError("this prior has no cross-attention to its text: locate words by difference instead")
    tokens = token_positions(text.tokenizer, sentence, words, text.limit)
    return lambda x_t, t: attention_to(prior, x_t, t, told, tokens)


def _drawn(renderer: Renderer, camera: Cameras, prior: Prior) -> tuple[Tensor, Tensor, Tensor]:
    """What the prior is shown of one view in plain colour; its depth and coverage, [1, F, F], on the CPU."""
    was_training = renderer.training
    renderer.eval()
    device = next(iter(renderer.parameters())).device
    grey = 0.5 if prior.background is None else prior.background
    drawn = renderer(camera.to(device), background=torch.full((3,), grey, device=device))
    renderer.train(was_training)
    picture = resized(shown(drawn, prior).clamp(0, 1), prior.resolution)
    return picture, drawn.depth[..., 0].cpu(), drawn.alpha[..., 0].cpu()
