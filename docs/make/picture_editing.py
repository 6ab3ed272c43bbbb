"""The picture of docs/picture-editing.md: python docs/make/picture_editing.py"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from plots import write_grid
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.diffusion.condition import Condition
from distill3d.diffusion.inversion import invert
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.repaint import inpaint
from distill3d.diffusion.sampling import sample
from distill3d.diffusion.sdedit import edit
from distill3d.toybox.captions import Description, Item
from distill3d.toybox.pictures import pack, picture
from distill3d.toybox.world import make_toy

OUT = Path(__file__).resolve().parents[1] / "pictures"
SIZE, STEPS = 64, 25
CAMERA = Cameras.orbit(torch.tensor([0.6]), 0.3, size=SIZE)


def noise(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def real_chair() -> Tensor:
    """A blue chair of the toybox, [1, 64, 64, 4], colour over grey and coverage."""
    toy = pack(make_toy(Description(Item("chair", "blue")), 77))
    pose, lens = CAMERA.camera_to_world[0].double().numpy(), CAMERA.intrinsics[0].double().numpy()
    rgba = picture(toy, pose, lens, SIZE, 1.0)
    rgba[..., :3] += 0.5 * (1 - rgba[..., 3:])
    return torch.from_numpy(rgba)[None].float()


def sdedit_row(prior: DiffusionPrior, chair: Tensor, told: Condition) -> list[Tensor]:
    return [chair, *(edit(prior, chair, told, t0, STEPS, 3.0, generator=noise(4)) for t0 in (0.3, 0.5, 0.7, 0.9))]


def repaint_row(prior: DiffusionPrior, chair: Tensor, told: Condition) -> list[Tensor]:
    """The right half is made anew: hidden, filled by plain compositing, and with resampling, each of two noises."""
    keep = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    keep[:, :, : SIZE // 2] = True
    hidden = torch.where(keep[..., None], chair, torch.tensor([0.5, 0.5, 0.5, 0.0]))
    two = told.expand(2)
    ways = [
        inpaint(prior, chair.expand(2, -1, -1, -1), keep, two, STEPS, 1.0, 5, k, [noise(2), noise(3)]) for k in (1, 5)
    ]
    return [hidden, *(picture[None] for pictures in ways for picture in pictures)]


def inversion_row(prior: DiffusionPrior, chair: Tensor, was: Condition, told: Condition) -> list[Tensor]:
    """The noise that leads to the chair, the chair from it again, and another sentence from it under three scales."""
    start = invert(prior, chair, was, STEPS, iterations=3)
    back = sample(prior, was, STEPS, 1.0, start=start)
    seen = prior.decode(start / 3)
    seen[..., 3] = 1
    return [seen, back, *(sample(prior, told, STEPS, scale, start=start) for scale in (1.0, 2.0, 3.0))]


def main() -> None:
    prior = DiffusionPrior.build({"kind": "diffusion", "model": "toybox"})
    chair = real_chair()
    blue, red, silent = (prior.condition([text], CAMERA, light=1.0) for text in ("a blue chair", "a red chair", ""))
    rows = {
        "SDEdit: t0 = 0, .3, .5, .7, .9": sdedit_row(prior, chair, red),
        "RePaint: hole, plain, resampled": repaint_row(prior, chair, silent),
        "inversion: noise, back, s = 1, 2, 3": inversion_row(prior, chair, blue, red),
    }
    shown: dict[str, list[np.ndarray]] = {name: [p[0].clamp(0, 1).numpy() for p in row] for name, row in rows.items()}
    write_grid(OUT / "picture-editing.png", shown, ["", "", "", "", ""])


if __name__ == "__main__":
    with torch.no_grad():
        main()
