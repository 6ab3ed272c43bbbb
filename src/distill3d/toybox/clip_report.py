"""How good a text-image encoder is on toys that it has not seen: retrieval of captions, category and colour."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.diffusion.backdrops import over, random_backdrops
from distill3d.diffusion.text_image import TextImageEncoder, load_text_image
from distill3d.diffusion.text_similarity import retrieved
from distill3d.toybox.captions import article
from distill3d.toybox.categories import CATEGORIES
from distill3d.toybox.palette import COLORS
from distill3d.toybox.pictures import pack, picture
from distill3d.toybox.world import sample_toy

SEED = 9_000_000  # far from every training's
SIZE = 64  # pixels
CHOICES = 100  # captions that a picture's own is among


@dataclass(frozen=True)
class Shown:
    """Pictures of plain toys and what they show."""

    pictures: Tensor  # [N, SIZE, SIZE, 3] in 0..1
    pairs: list[tuple[str, str]]  # colour and category


def caption(color: str, category: str) -> str:
    return f"{article(color)} {color} {category}"


def captions_of(pairs: list[tuple[str, str]]) -> list[str]:
    return [caption(*pair) for pair in pairs]


@cache
def fresh(split: str, count: int, seed: int = SEED) -> Shown:
    """Plain, lit toys of one split, from all around and elevations of -10 to 45 degrees, half of them over grey, as a
    renderer shows them by itself, half over random backdrops."""
    rng = np.random.default_rng((seed, split == "heldout"))
    generator = torch.Generator().manual_seed(seed)
    azimuth = torch.from_numpy(rng.uniform(-np.pi, np.pi, count)).float()
    cameras = Cameras.orbit(azimuth, torch.from_numpy(np.radians(rng.uniform(-10, 45, count))).float(), size=SIZE)
    poses, lenses = cameras.camera_to_world.double().numpy(), cameras.intrinsics.double().numpy()
    names, pairs, seen = tuple(CATEGORIES), [], []
    for i in range(count):
        toy = sample_toy(rng, split=split, category=names[i % len(names)], material="plain")
        seen.append(picture(pack(toy), poses[i], lenses[i], SIZE, 1.0))
        pairs.append((toy.color, toy.category))
    rgba = torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2)
    bare = (torch.arange(count) // len(names) % 2 == 0)[:, None, None, None]
    behind = torch.where(bare, 0.5, random_backdrops(count, SIZE, generator))
    return Shown(over(rgba[:, :3], rgba[:, 3:], behind).permute(0, 2, 3, 1), pairs)


@torch.no_grad()
def scores(encoder: TextImageEncoder, shown: Shown, seed: int = SEED) -> dict[str, float]:
    """Shares of pictures for which the encoder is right.

    `among_100`: the picture's own caption is the nearest of 100 (R-precision), the others drawn from all pairs of
    colour and category; `among_all`: of all 768; `category`: the nearest of the 768 is of the right category;
    `category_alone`: the nearest of 64 captions without a colour is, of which training has no example; `color`: the
    nearest of 12 captions of the right category is.
    """
    seen = torch.cat([encoder.pictures(part) for part in shown.pictures.split(64)])
    pairs = [(color, category) for category in CATEGORIES for color in COLORS]
    texts = encoder.texts(captions_of(pairs))
    own = torch.tensor([pairs.index(pair) for pair in shown.pairs])
    generator = torch.Generator().manual_seed(seed)
    among = []
    for row, mine in zip(seen, own.tolist(), strict=True):
        drawn = torch.randperm(len(pairs), generator=generator)
        others = drawn[drawn != mine][: CHOICES - 1]
        among.append(retrieved(row[None], texts[torch.cat([torch.tensor([mine]), others])], torch.zeros(1).long()))
    alone = encoder.texts([f"{article(name)} {name}" for name in CATEGORIES])
    category = torch.tensor([list(CATEGORIES).index(c) for _, c in shown.pairs])
    color = torch.tensor([COLORS.index(c) for c, _ in shown.pairs])
    kinds = texts.reshape(len(CATEGORIES), len(COLORS), -1)
    right = {
        "among_100": torch.cat(among),
        "among_all": retrieved(seen, texts, own),
        "category": (seen @ texts.T).argmax(1) // len(COLORS) == category,
        "category_alone": retrieved(seen, alone, category),
        "color": torch.einsum("nd,ncd->nc", seen, kinds[category]).argmax(1) == color,
    }
    return {name: round(float(value.float().mean()), 4) for name, value in right.items()}


def report(model: str | Path, count: int = 1536) -> dict[str, dict[str, float]]:
    """`scores` on pairs of colour and category that training has shown, and on those that are held out."""
    encoder = load_text_image(model)
    return {split: scores(encoder, fresh(split, count)) for split in ("train", "heldout")}
