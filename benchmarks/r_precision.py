"""R-precision of finished runs: is a view's own caption the nearest of 100 (Park et al. 2021)?

Each run's eight turntable views (`views.png`) and its prompt go through a text-image encoder; the other 99 captions are
drawn from all pairs of colour and category of the toybox. An asset counts as right where the mean of its views finds
its prompt. DreamFusion reports 75.1 with CLIP B/32 for its own; the captions and the encoder are other ones here. For
assets that were made with the same encoder (`dreamfields`) the number says that the optimisation worked, not that a
person would agree.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from figures import CannotRun, Figure, main
from PIL import Image
from torch import Tensor

from distill3d.diffusion.text_image import load_text_image
from distill3d.diffusion.text_similarity import r_precision, retrieved
from distill3d.toybox.captions import parse
from distill3d.toybox.categories import CATEGORIES
from distill3d.toybox.clip_report import CHOICES, caption
from distill3d.toybox.palette import COLORS

GOAL = 0.751  # DreamFusion's, table 1


def runs(folders: list[Path]) -> list[Path]:
    """The run folders among `folders` and in them, that have an asset's views."""
    inside = [path for folder in folders for path in (folder, *sorted(folder.glob("*")))]
    found = [path for path in inside if (path / "views.png").is_file() and (path / "config.yaml").is_file()]
    if not found:
        raise CannotRun(f"no finished run (config.yaml and views.png) in {', '.join(map(str, folders))}")
    return found


def views(run: Path) -> Tensor:
    """The turntable views, [V, H, H, 3] in 0..1."""
    strip = torch.from_numpy(np.asarray(Image.open(run / "views.png").convert("RGB")).astype(np.float32) / 255)
    return torch.stack(strip.split(strip.shape[0], 1))


def choices(prompt: str, seed: int) -> list[str]:
    """The prompt first, then captions that say something else."""
    others = [caption(color, category) for category in CATEGORIES for color in COLORS]
    others = [text for text in others if parse(text) != parse(prompt)]
    order = np.random.default_rng(seed).permutation(len(others))[: CHOICES - 1]
    return [prompt, *(others[i] for i in order)]


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    encoder = load_text_image(options.model)
    of_views, of_assets = [], []
    print(f"{'prompt':<24} views  asset  nearest")
    for i, run in enumerate(runs(options.runs)):
        prompt = yaml.safe_load((run / "config.yaml").read_text()).get("prompt")
        if not prompt:
            continue
        asked = choices(prompt, seed=i)
        texts, seen = encoder.texts(asked), encoder.pictures(views(run))
        mean = F.normalize(seen.mean(0, keepdim=True), dim=1)
        of_views.append(r_precision(seen, texts, torch.zeros(len(seen)).long()))
        of_assets.append(bool(retrieved(mean, texts, torch.zeros(1).long())))
        nearest = asked[int((mean @ texts.T).argmax())]
        print(f"{prompt:<24} {of_views[-1]:.2f}   {'yes' if of_assets[-1] else 'no':<5}  {nearest}", flush=True)
    options.raw["views"], options.raw["assets"] = of_views, of_assets
    yield Figure("r_precision_of_views", float(np.mean(of_views)), goal=GOAL)
    yield Figure("r_precision_of_assets", float(np.mean(of_assets)), goal=GOAL)


if __name__ == "__main__":
    main(
        __doc__,
        measure,
        runs={
            "type": Path,
            "nargs": "+",
            "default": [Path("outputs")],
            "metavar": "FOLDER",
            "help": "runs or their folder",
        },
        model={"default": "toybox", "help": "the encoder: toybox, or the folder of a CLIP or of an OpenCLIP model"},
    )
