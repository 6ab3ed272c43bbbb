"""A small classifier of noisy toybox pictures, for classifier guidance of the embedded prior (Dhariwal, Nichol 2021).

Unlike the judge it reads x_t at any time, in the prior's own space, and its gradient is meant to be followed; so it
must not judge what it has steered. `train_noisy_judge.py` trains it; its weights are shipped in `noisy_judge_weights`.
"""

from __future__ import annotations

import json
import math
from importlib.resources import files
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from distill3d.core.errors import UserError
from distill3d.diffusion.classifier_guidance import Classifier
from distill3d.toybox.captions import parse
from distill3d.toybox.categories import CATEGORIES
from distill3d.toybox.palette import COLORS

CHANNELS, CELLS, TIMES = 64, 16, 1000  # of the embedded prior's x_t, and of its schedule
_WAVES = 8


class NoisyJudge(nn.Module):
    """Five convolutions that hear the time, and two linear heads.

    Args:
        widths: channels at 16, 8 and 4 cells, multiples of 8.
        categories, colors: the names that the heads' outputs stand for.
    """

    def __init__(
        self,
        widths: tuple[int, int, int] = (48, 80, 112),
        categories: tuple[str, ...] = tuple(CATEGORIES),
        colors: tuple[str, ...] = COLORS,
    ) -> None:
        super().__init__()
        self.widths, self.categories, self.colors = widths, categories, colors
        a, b, c = widths
        plan = ((CHANNELS, a, 1), (a, b, 2), (b, b, 1), (b, c, 2), (c, c, 1))
        self.convolutions = nn.ModuleList(nn.Conv2d(i, o, 3, stride, 1) for i, o, stride in plan)
        self.norms = nn.ModuleList(nn.GroupNorm(8, o) for _, o, _ in plan)
        self.time = nn.Sequential(nn.Linear(2 * _WAVES, 64), nn.SiLU(), nn.Linear(64, 2 * sum(o for _, o, _ in plan)))
        self.category = nn.Linear(2 * c, len(categories))
        self.color = nn.Linear(2 * c, len(colors))

    def forward(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """x_t [B, 64, 16, 16] and t [B] to logits of category [B, 64] and of colour [B, 12]."""
        phase = (t.to(x_t) + 1)[:, None] / TIMES * math.pi * 2.0 ** torch.arange(_WAVES, device=x_t.device)
        told = self.time(torch.cat([phase.sin(), phase.cos()], -1))
        sizes = [2 * norm.num_channels for norm in self.norms]  # type: ignore[operator]
        for convolution, norm, part in zip(self.convolutions, self.norms, told.split(sizes, -1), strict=True):  # type: ignore[arg-type]
            scale, shift = part[:, :, None, None].chunk(2, 1)
            x_t = F.silu(norm(convolution(x_t)) * (1 + scale) + shift)
        pooled = torch.cat([x_t.mean((2, 3)), x_t.amax((2, 3))], 1)
        return self.category(pooled), self.color(pooled)

    def pairs(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Logits of every pair of category and colour, [B, 64 * 12]; given x_t the two are taken as independent."""
        category, color = (logits.log_softmax(-1) for logits in self(x_t, t))
        return (category[:, :, None] + color[:, None]).flatten(1)

    def towards(self, prompt: str) -> tuple[Classifier, int]:
        """A classifier, and the class of it that `prompt` names: category and colour, or category alone.

        Raises:
            UserError: a prompt that is not wholly in the toybox's words, or of two objects.
        """
        described = parse(prompt)
        if described is None or described.other is not None:
            raise UserError(f"the classifier knows single toys in the toybox's words, and not {prompt!r}")
        item = described.item
        category = self.categories.index(item.category)
        if item.color is None:
            return (lambda x_t, t: self(x_t, t)[0]), category
        return self.pairs, category * len(self.colors) + self.colors.index(item.color)

    @classmethod
    def load(cls, folder: str | Path | None = None) -> NoisyJudge:
        """The shipped one, or one that `train_noisy_judge.py` has written to `folder`.

        Raises:
            UserError: the folder is incomplete.
        """
        path = Path(str(files("distill3d.toybox").joinpath("noisy_judge_weights"))) if folder is None else Path(folder)
        for name in ("config.json", "noisy_judge.safetensors"):
            if not (path / name).is_file():
                raise UserError(f"{path} has no {name}; train one with python -m distill3d.toybox.train_noisy_judge")
        config = json.loads((path / "config.json").read_text())
        judge = cls(tuple(config["widths"]), tuple(config["categories"]), tuple(config["colors"]))
        judge.load_state_dict({k: v.float() for k, v in load_file(path / "noisy_judge.safetensors").items()})
        return judge.eval().requires_grad_(False)
