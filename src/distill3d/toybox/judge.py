"""A small classifier of toybox pictures: category and main colour.

It judges pictures that a prior has sampled, and shares nothing with it: no network, and no training picture (it is
trained by `train_judge.py` on other seeds). Its weights are shipped in `judge_weights`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from distill3d.core.errors import UserError
from distill3d.toybox.categories import CATEGORIES
from distill3d.toybox.palette import COLORS

SIZE = 64  # pixels


@dataclass(frozen=True)
class Verdicts:
    """What the judge reads off `B` pictures; numbers are positions in `categories` and `colors`."""

    categories: tuple[str, ...]
    colors: tuple[str, ...]
    category: Tensor  # [B, number of categories], probabilities
    color: Tensor  # [B, number of colours], probabilities

    @property
    def category_names(self) -> list[str]:
        return [self.categories[i] for i in self.category.argmax(1).tolist()]

    @property
    def color_names(self) -> list[str]:
        return [self.colors[i] for i in self.color.argmax(1).tolist()]


class Judge(nn.Module):
    """Seven convolutions over a 64 x 64 RGBA picture and two linear heads.

    Args:
        widths: channels at 32, 16, 8 and 4 pixels.
        categories, colors: the names that the heads' outputs stand for.
    """

    def __init__(
        self,
        widths: tuple[int, int, int, int] = (16, 32, 64, 160),
        categories: tuple[str, ...] = tuple(CATEGORIES),
        colors: tuple[str, ...] = COLORS,
    ) -> None:
        super().__init__()
        self.widths, self.categories, self.colors = widths, categories, colors
        a, b, c, d = widths
        layers: list[nn.Module] = [nn.PixelUnshuffle(2)]
        for before, after, stride in ((16, a, 1), (a, b, 2), (b, b, 1), (b, c, 2), (c, c, 1), (c, d, 2), (d, d, 1)):
            layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.trunk = nn.Sequential(*layers)
        self.category = nn.Linear(2 * d, len(categories))
        self.color = nn.Linear(2 * d, len(colors))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 4, 64, 64] in -1..1 (colour over grey, and coverage) to logits of category and of colour."""
        maps = self.trunk(pictures)
        pooled = torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)
        return self.category(pooled), self.color(pooled)

    @torch.no_grad()
    def judge(self, pictures: Tensor) -> Verdicts:
        """Pictures [B, 64, 64, 4] in 0..1, colour composited over grey 0.5, and coverage.

        Raises:
            UserError: pictures of another shape.
        """
        if pictures.ndim != 4 or tuple(pictures.shape[1:]) != (SIZE, SIZE, 4):
            raise UserError(f"the judge reads RGBA pictures [B, {SIZE}, {SIZE}, 4], got {list(pictures.shape)}")
        parts = [self(2 * part.permute(0, 3, 1, 2).float() - 1) for part in pictures.split(64)]
        category, color = (torch.cat(column).softmax(1) for column in zip(*parts, strict=True))
        return Verdicts(self.categories, self.colors, category, color)

    @classmethod
    def load(cls, folder: str | Path | None = None) -> Judge:
        """The shipped judge, or one that `train_judge.py` has written to `folder`; ready to judge.

        Raises:
            UserError: the folder is incomplete.
        """
        path = Path(str(files("distill3d.toybox").joinpath("judge_weights"))) if folder is None else Path(folder)
        for name in ("config.json", "judge.safetensors"):
            if not (path / name).is_file():
                raise UserError(f"{path} has no {name}; train a judge with python -m distill3d.toybox.train_judge")
        config = json.loads((path / "config.json").read_text())
        judge = cls(tuple(config["widths"]), tuple(config["categories"]), tuple(config["colors"]))
        judge.load_state_dict({k: v.float() for k, v in load_file(path / "judge.safetensors").items()})
        return judge.eval().requires_grad_(False)
