"""What the tables share: which toys are asked for, real pictures of such toys, and how far samples are from them."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for figures.py, the habit of all benchmarks

from figures import CannotRun, Figure, main

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.diffusion.condition import Condition
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.toybox.captions import Description, Item, wordings
from distill3d.toybox.dataset import FREQUENT
from distill3d.toybox.judge import SIZE, Judge
from distill3d.toybox.palette import COLORS
from distill3d.toybox.pictures import pack, picture
from distill3d.toybox.world import make_toy

__all__ = ["CannotRun", "Figure", "Ground", "Judged", "Toys", "main", "rising", "seeds", "write_rows"]

ELEVATION = math.radians(15)
DIMENSIONS = 32  # principal directions of the real pictures' features: few samples cannot fill more


@dataclass(frozen=True)
class Toys:
    """`N` plain toys of the kinds that the prior has met most, and where each is seen from."""

    categories: list[str]
    colors: list[str]
    azimuth: Tensor  # [N]
    seed: int

    @classmethod
    def draw(cls, count: int, seed: int) -> Toys:
        """Every kind equally often. The first toys of a longer list are those of a shorter one."""
        kinds = sorted(FREQUENT)
        rounds = range(-(-count // len(kinds)))
        order = [i for n in rounds for i in np.random.default_rng([seed, n]).permutation(len(kinds))][:count]
        rngs = [np.random.default_rng([seed, 1, i]) for i in range(count)]
        colors = [COLORS[rng.integers(len(COLORS))] for rng in rngs]
        azimuth = [rng.uniform(-math.pi, math.pi) for rng in rngs]
        return cls([kinds[i] for i in order], colors, torch.tensor(azimuth), seed)

    def first(self, count: int) -> Toys:
        return Toys(self.categories[:count], self.colors[:count], self.azimuth[:count], self.seed)

    def __len__(self) -> int:
        return len(self.categories)

    @property
    def described(self) -> list[Description]:
        return [Description(Item(n, c)) for n, c in zip(self.categories, self.colors, strict=True)]

    @property
    def texts(self) -> list[str]:
        return [wordings(d)[0] for d in self.described]

    @property
    def cameras(self) -> Cameras:
        return Cameras.orbit(self.azimuth, ELEVATION, size=SIZE)

    def condition(self, prior: DiffusionPrior, rows: slice = slice(None), silent: bool = False) -> Condition:
        """What the prior is told of those rows: the text (none where `silent`), the camera, full light."""
        texts = self.texts[rows]
        where = self.cameras[torch.arange(len(self))[rows]].to(prior.device)
        return prior.condition([""] * len(texts) if silent else texts, where, light=1.0)

    def pictures(self, instance: int = 0) -> Tensor:
        """Real ones, [N, 64, 64, 4], colour over grey, and coverage; other toys of the same kinds in each instance."""
        cameras = self.cameras
        poses, lenses = cameras.camera_to_world.double().numpy(), cameras.intrinsics.double().numpy()
        shown = [
            picture(pack(make_toy(d, self.seed + 10_000 * instance + i)), poses[i], lenses[i], SIZE, 1.0)
            for i, d in enumerate(self.described)
        ]
        rgba = torch.from_numpy(np.stack(shown))
        rgba[..., :3] += 0.5 * (1 - rgba[..., 3:])
        return rgba


@dataclass(frozen=True)
class Judged:
    """Frechet distance to the real pictures, and the share of pictures whose category and colour are as asked."""

    distance: float
    right: float


class Ground:
    """Real pictures, and the judge whose features samples are compared in (it shares no network with the prior).

    The distance is that of Heusel et al. 2017 with the judge's pooled features in place of Inception's, in the
    `DIMENSIONS` directions in which real pictures differ most. The real pictures show other toys of the same kinds,
    colours and directions as are asked for, several of each: against an independent set, a few dozen samples would
    differ in what they show by far more than in how well they show it. The value still falls with the number of
    samples, so only distances of equally many are compared, and that of one more set of real pictures is the floor.
    """

    def __init__(self, toys: Toys, instances: int) -> None:
        self.judge, self.toys = Judge.load(), toys
        features = self._features(torch.cat([toys.pictures(1 + i) for i in range(instances)]))
        self.center = features.mean(0)
        self.axes = torch.linalg.eigh(torch.cov(features.T)).eigenvectors[:, -DIMENSIONS:]
        self.mean, self.covariance = _moments((features - self.center) @ self.axes)

    def judged(self, pictures: Tensor) -> Judged:
        told = self.judge.judge(pictures)
        pairs = zip(told.category_names, told.color_names, self.toys.categories, self.toys.colors, strict=True)
        right = [category == n and color == c for category, color, n, c in pairs]
        return Judged(self.distance(pictures), 100 * sum(right) / len(right))

    def distance(self, pictures: Tensor) -> float:
        return self._to_real(self._seen(pictures))

    def difference(self, pictures: Tensor, others: Tensor) -> tuple[float, float]:
        """Distance of `pictures` less that of `others`, [N, 64, 64, 4] of the same toys, and its standard error.

        The error is the jackknife's: the toys are left out one by one, of both sets at once.
        """
        ours, theirs = self._seen(pictures), self._seen(others)
        rest = [torch.arange(len(ours)) != i for i in range(len(ours))]
        without = torch.tensor([self._to_real(ours[r]) - self._to_real(theirs[r]) for r in rest])
        error = ((len(rest) - 1) * without.var(correction=0)).sqrt()
        return self._to_real(ours) - self._to_real(theirs), float(error)

    def _seen(self, pictures: Tensor) -> Tensor:
        """[N, DIMENSIONS]: features along the axes."""
        return (self._features(pictures) - self.center) @ self.axes

    def _to_real(self, seen: Tensor) -> float:
        mean, covariance = _moments(seen)
        root = _root(self.covariance)
        cross = _root(root @ covariance @ root)
        return float((mean - self.mean).square().sum() + torch.trace(covariance + self.covariance - 2 * cross))

    @torch.no_grad()
    def _features(self, pictures: Tensor) -> Tensor:
        """[N, 320] float64: mean and maximum over the picture of the judge's last maps."""
        parts = []
        for part in pictures.split(64):
            maps = self.judge.trunk(2 * part.permute(0, 3, 1, 2).float() - 1)
            parts.append(torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1))
        return torch.cat(parts).double()


def load(model: str, device: str) -> DiffusionPrior:
    """The prior that a table is made for.

    Raises:
        CannotRun: none of that name, or one of other pictures than the judge reads.
    """
    try:
        prior = DiffusionPrior(DiffusionPrior.Config(model=model), device)
    except UserError as problem:
        raise CannotRun(str(problem)) from problem
    if not (prior.sees_cameras and prior.sees_alpha and prior.resolution == SIZE):
        raise CannotRun(f"{model} is no prior of RGBA pictures of {SIZE} pixels that sees cameras")
    return prior


def seeds(rows: slice) -> list[torch.Generator]:
    """A source of noise for each of those toys, the same one in every cell."""
    return [torch.Generator().manual_seed(i) for i in range(rows.start, rows.stop)]


def write_rows(path: Path | None, rows: dict[str, Tensor], columns: int = 12) -> None:
    """A row of pictures for each name, on a light paper; nothing without a path."""
    if path is None:
        return
    label, paper = 110, 0.93
    sheet = np.full((len(rows) * SIZE, label + columns * SIZE, 3), paper)
    for i, pictures in enumerate(rows.values()):
        shown = pictures[:columns].clamp(0, 1).numpy()
        on_paper = shown[..., :3] + (paper - 0.5) * (1 - shown[..., 3:])
        row = on_paper.transpose(1, 0, 2, 3).reshape(SIZE, -1, 3)
        sheet[i * SIZE : (i + 1) * SIZE, label : label + row.shape[1]] = row
    image = Image.fromarray(np.round(255 * sheet.clip(0, 1)).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for i, name in enumerate(rows):
        pen.text((label - 6, i * SIZE + SIZE // 2), name, fill=(40, 40, 40), anchor="rm")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, optimize=True)


FLAGS = {
    "model": {"default": "toybox", "help": "a prior: toybox, or a folder in diffusers layout"},
    "device": {"default": "cpu"},
    "grid": {"type": Path, "default": None, "metavar": "FILE.png", "help": "write some of the pictures here"},
    "pictures": {"type": int, "default": None, "help": "samples of every kind"},
    "keep": {"type": Path, "default": None, "metavar": "FOLDER", "help": "keep samples there, and go on with them"},
}


def rising(values: Sequence[float]) -> float:
    """Spearman's correlation of values with their order: 1 rises all along, -1 falls."""
    ranks = np.argsort(np.argsort(values))
    return float(np.corrcoef(ranks, np.arange(len(values)))[0, 1])


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    return features.mean(0), torch.cov(features.T)


def _root(matrix: Tensor) -> Tensor:
    """The square root of a symmetric matrix without negative eigenvalues (but for rounding)."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
