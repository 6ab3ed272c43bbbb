"""The pictures of the miniature of Stable Diffusion: python docs/make/latent.py [--runs FOLDER] [--no-asset]

`latent.png`: samples from four sides, and pixels that were pulled towards each sentence through the encoder;
`latent-edits.png`: a sample, coded and decoded, changed by img2img, and filled in; `latent-asset.png`: a NeRF distilled
from it. What is in the folder of runs (default: outputs/latent) already is not run again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from plots import write_grid

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import text_to_3d  # noqa: E402
from latent_quality import VIEWS  # noqa: E402

from distill3d.core.view_names import with_view  # noqa: E402
from distill3d.diffusion.aliases import LATENT  # noqa: E402
from distill3d.diffusion.prior import DiffusionPrior  # noqa: E402
from distill3d.diffusion.repaint import inpaint  # noqa: E402
from distill3d.diffusion.sampling import sample  # noqa: E402
from distill3d.diffusion.sdedit import edit  # noqa: E402
from distill3d.guidance.sds import sds  # noqa: E402
from distill3d.guidance.surrogate import surrogate_loss  # noqa: E402

OUT = ROOT / "docs" / "pictures"
STEPS, SCALE = 20, 3.0
SENTENCES = ("a red cube", "a blue mushroom", "a green cone", "a yellow sphere", "a red car", "a purple tower")
ASSET = "a red cube"  # and how it is distilled, see docs/checkpoints.md
SETTINGS = ("prior.model=toybox-latent", "guidance.0.cfg_scale=5", "steps=100", "threads=1")
DESCENT = {"steps": 40, "rate": 0.1, "cells": 16, "times": (200, 800), "cfg_scale": 5.0}


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@torch.no_grad()
def samples(prior: DiffusionPrior) -> dict[str, list[np.ndarray]]:
    """A row for each side; all begin with the same noise."""
    rows = {}
    for name in VIEWS:
        condition = prior.condition([with_view(sentence, name) for sentence in SENTENCES])
        rows[name] = list(sample(prior, condition, STEPS, SCALE, generator=seeded()).numpy())
    return rows


def pulled(prior: DiffusionPrior) -> list[np.ndarray]:
    """A grid of 16 x 16 colours for each sentence, drawn as 64 x 64 pixels and pulled by SDS through the encoder."""
    condition, draws = prior.condition([with_view(sentence, "front") for sentence in SENTENCES]), seeded()
    count = len(SENTENCES)
    colors = torch.full((count, 3, DESCENT["cells"], DESCENT["cells"]), 0.5, requires_grad=True)
    descent = torch.optim.Adam([colors], DESCENT["rate"])
    for _ in range(DESCENT["steps"]):
        x = prior.encode(drawn(colors, prior.resolution))
        t = torch.randint(*DESCENT["times"], (count,), generator=draws)
        noise = torch.randn(x.shape, generator=draws)
        descent.zero_grad()
        surrogate_loss(x, sds(prior, x, t, noise, condition, DESCENT["cfg_scale"], "clean")).backward()
        descent.step()
    return list(drawn(colors.detach(), prior.resolution).numpy())


def drawn(colors: torch.Tensor, size: int) -> torch.Tensor:
    return F.interpolate(colors, (size, size), mode="bicubic").permute(0, 2, 3, 1)


@torch.no_grad()
def changed(prior: DiffusionPrior, given: torch.Tensor) -> list[np.ndarray]:
    """A picture [1, H, W, 3], what the autoencoder makes of it, a blue one by img2img, and its right half made anew."""
    known = torch.zeros(given.shape[:3], dtype=torch.bool)
    known[:, :, : given.shape[2] // 2] = True
    blue = edit(prior, given, prior.condition("a blue cube"), 0.9, STEPS, 5.0, generator=seeded())
    filled = inpaint(prior, given, known, prior.condition("a green cube"), STEPS, 5.0, 5, 3, seeded())
    return [picture[0].numpy() for picture in (given, prior.decode(prior.encode(given)), blue, filled)]


def distilled(run: Path) -> list[np.ndarray]:
    """Four of the eight views of a run, which is made if it is not there."""
    if not (run / "views.png").is_file():
        problem = text_to_3d.make("dreamfusion", [f"prompt={ASSET}", *SETTINGS], text_to_3d.fresh(run))
        if problem:
            raise SystemExit(problem)
    strip = np.asarray(Image.open(run / "views.png").convert("RGB")) / 255
    side = len(strip)
    return [strip[:, 2 * i * side : (2 * i + 1) * side] for i in range(4)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("outputs/latent"), metavar="FOLDER")
    parser.add_argument("--no-asset", action="store_true", help="only what takes no run")
    args = parser.parse_args()
    prior = DiffusionPrior(DiffusionPrior.Config(model=LATENT))
    rows = samples(prior)
    write_grid(OUT / "latent.png", {**rows, "SDS on pixels": pulled(prior)}, SENTENCES, 112)
    names = ["given", "coded", "a blue cube", "half a green cube"]
    write_grid(OUT / "latent-edits.png", {"": changed(prior, torch.from_numpy(rows["front"][0])[None])}, names, 128)
    if not args.no_asset:
        write_grid(OUT / "latent-asset.png", {ASSET: distilled(args.runs / "asset")}, ["0", "90", "180", "270"], 128)


if __name__ == "__main__":
    main()
