"""The picture of docs/control.md: python docs/make/control.py"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from plots import write_grid

from distill3d.core.cameras import Cameras
from distill3d.diffusion.hint import Hint
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.sampling import sample, standard_normal
from distill3d.toybox.captions import Description, Item, wordings
from distill3d.toybox.hints import HintKind, depth_hint, edge_hint
from distill3d.toybox.pictures import pack, picture_and_depth
from distill3d.toybox.world import make_toy

OUT = Path(__file__).resolve().parents[1] / "pictures"
SIZE, STEPS, SCALE = 64, 20, 2.0
WEIGHTS = (0.0, 0.25, 0.5, 1.0)
TOYS = (("duck", "yellow", 30.0, "depth"), ("house", "red", 60.0, "depth"), ("car", "blue", 40.0, "edge"))


def toy(name: str, color: str, azimuth: float, kind: HintKind) -> tuple[str, Cameras, torch.Tensor]:
    """Its sentence, its camera, and the hint of a real one, [1, 64, 64, 1]."""
    described, camera = Description(Item(name, color)), Cameras.orbit(torch.tensor([azimuth]).deg2rad(), 0.3, size=SIZE)
    pose, lens = camera.camera_to_world[0].double().numpy(), camera.intrinsics[0].double().numpy()
    rgba, depth = picture_and_depth(pack(make_toy(described, 77)), pose, lens, SIZE, 1.0)
    rgba[..., :3] += 0.5 * (1 - rgba[..., 3:])
    hint = depth_hint(depth, 2) if kind == "depth" else edge_hint(rgba)
    return wordings(described)[0], camera, torch.from_numpy(hint)[None, ..., None].float()


def row(prior: DiffusionPrior, text: str, camera: Cameras, hint: torch.Tensor) -> list[np.ndarray]:
    """The hint, then samples of one noise under rising weights, and under a hint that counts in the left half."""
    count = len(WEIGHTS) + 1
    region = torch.ones(count, SIZE, SIZE, 1)
    region[-1, :, SIZE // 2 :] = 0
    told = Hint(hint.expand(count, -1, -1, -1), torch.tensor([*WEIGHTS, 1.0]), region)
    condition = prior.condition([text] * count, camera[torch.zeros(count, dtype=torch.long)], light=1.0, control=told)
    noise = standard_normal(torch.empty(prior.x_shape(1)), torch.Generator().manual_seed(2)).expand(count, -1, -1, -1)
    drawn = sample(prior, condition, STEPS, SCALE, start=noise)
    return [hint[0].expand(-1, -1, 3).numpy(), *drawn.numpy()]


def main() -> None:
    rows = {}
    for name, color, azimuth, kind in TOYS:
        settings = {"kind": "diffusion", "model": "toybox", "control": [{"model": f"toybox-{kind}"}]}
        prior = DiffusionPrior.build(settings)
        rows[f"{kind}, {name}"] = row(prior, *toy(name, color, azimuth, kind))
        print(name)
    columns = ["hint", *(f"weight {weight:g}" for weight in WEIGHTS), "left half only"]
    write_grid(OUT / "control-weights.png", rows, columns)


if __name__ == "__main__":
    with torch.no_grad():
        main()
