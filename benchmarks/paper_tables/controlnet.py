"""The embedded prior's ControlNets: do samples follow the hint, the more the heavier it weighs? (Zhang et al. 2023)

Real toys give the hints; the prior is told each toy's text and camera, and samples from the same noise under weights
from 0 (the prior alone) on. Adherence is measured on the sample alone:

- depth: intersection over union of the sample's coverage and the hint's lit pixels;
- edge: recall, the share of the hint's edge pixels with an edge of the sample's own Canny edges within one pixel; and
  precision, the other way round, so that edges everywhere would not count as good.

`none` is told no camera either: then the hint alone says where the toy is seen from. With a region, the hint counts in
the left half; how much the right half differs from the uncontrolled sample is compared with a hint that counts
everywhere.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from samples import Cell, made
from scipy import ndimage
from toys import FLAGS, Figure, Toys, load, main, rising, seeds, write_rows

from distill3d.diffusion.checkpoint import open_checkpoint
from distill3d.diffusion.control_loading import load_controls
from distill3d.diffusion.hint import Hint
from distill3d.diffusion.options import ControlConfig
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.sampling import sample
from distill3d.geometry.canny import canny
from distill3d.toybox.hints import HINTS, HintKind, depth_hint, edge_hint
from distill3d.toybox.judge import SIZE, Judge
from distill3d.toybox.pictures import pack, picture_and_depth
from distill3d.toybox.world import make_toy

WEIGHTS = (0.0, 0.25, 0.5, 1.0)
SCALE = 2.0


def hints(toys: Toys, kind: HintKind) -> torch.Tensor:
    """[N, 64, 64, 1], of other toys of these kinds, from the toys' cameras."""
    poses, lenses = toys.cameras.camera_to_world.double().numpy(), toys.cameras.intrinsics.double().numpy()
    found = []
    for i, described in enumerate(toys.described):
        rgba, depth = picture_and_depth(pack(make_toy(described, toys.seed + i)), poses[i], lenses[i], SIZE, 1.0)
        rgba[..., :3] += 0.5 * (1 - rgba[..., 3:])
        found.append(depth_hint(depth, 2) if kind == "depth" else edge_hint(rgba))
    return torch.from_numpy(np.stack(found))[..., None]


def adherence(kind: HintKind, pictures: torch.Tensor, shown: torch.Tensor) -> dict[str, float]:
    """Means over the pictures, in per cent."""
    rows = []
    for picture, hint in zip(pictures.numpy(), shown[..., 0].numpy(), strict=True):
        if kind == "depth":
            covered, wanted = picture[..., 3] > 0.5, hint > 0.12
            rows.append({"iou": (covered & wanted).sum() / max((covered | wanted).sum(), 1)})
        else:
            drawn, wanted = canny(picture), hint > 0.5
            near_drawn, near_wanted = (ndimage.binary_dilation(edges, np.ones((3, 3))) for edges in (drawn, wanted))
            recall, precision = near_drawn[wanted].mean(), near_wanted[drawn].mean() if drawn.any() else 0.0
            rows.append({"recall": recall, "precision": precision})
    return {name: 100 * float(np.mean([row[name] for row in rows])) for name in rows[0]}


def cell(
    prior: DiffusionPrior, toys: Toys, steps: int, name: str, hint: Hint, camera: bool = True, settings: str = ""
) -> Cell:
    """One picture a toy, from the same noise whatever is told."""

    def draw(rows: slice) -> torch.Tensor:
        cameras = toys.cameras[torch.arange(len(toys))[rows]] if camera else None
        own = Hint(hint.image[rows], hint.weight, hint.region)
        condition = prior.condition(toys.texts[rows], cameras, light=1.0 if camera else None, control=own)
        return sample(prior, condition, steps, SCALE, generator=seeds(rows))

    return Cell(name, len(toys), 2 * steps, draw, settings)


def controlled(options: argparse.Namespace, prior: DiffusionPrior, kind: HintKind) -> None:
    """Puts the ControlNet of that kind beside the prior."""
    model = f"toybox-{kind}" if options.controls is None else str(options.controls / kind / "control")
    checkpoint = open_checkpoint(options.model)
    assert checkpoint is not None  # it is open already
    networks = load_controls([ControlConfig(model=model)], checkpoint, prior.unet.dtype, prior.codec.scale)
    prior.controls = networks.to(options.device)


def change(pictures: torch.Tensor, full: torch.Tensor, free: torch.Tensor) -> list[float]:
    """How far pictures are from the free ones, in shares of the fully controlled ones' way: left half, right half."""
    halves = (slice(None, SIZE // 2), slice(SIZE // 2, None))
    return [float((pictures - free)[:, :, h].abs().mean() / (full - free)[:, :, h].abs().mean()) for h in halves]


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    prior, judge = load(options.model, options.device), Judge.load()
    count = options.pictures or (8 if options.quick else 16)
    steps = 12 if options.quick else 20
    toys = Toys.draw(count, 9_200_000)
    asked = list(zip(toys.categories, toys.colors, strict=True))
    rows: dict[str, torch.Tensor] = {}
    print(f"{count} toys, {steps} DDIM steps, guidance {SCALE}")
    for kind in options.kinds:
        controlled(options, prior, kind)
        shown = hints(toys, kind)
        rows[f"{kind} hint"] = torch.cat([shown.expand(-1, -1, -1, 3), torch.ones_like(shown)], -1)
        left = torch.zeros(1, SIZE, SIZE, 1)
        left[:, :, : SIZE // 2] = 1
        ways = [(f"{weight:g}", Hint(shown, weight), True) for weight in WEIGHTS]
        ways += [("0 none", Hint(shown, 0.0), False), ("1 none", Hint(shown, 1.0), False)]
        ways += [("left half", Hint(shown, 1.0, left), True)]
        settings = f"{steps} {'shipped' if options.controls is None else options.controls.resolve().name}"
        cells = [cell(prior, toys, steps, f"{kind} {name}", hint, camera, settings) for name, hint, camera in ways]
        found: dict[str, dict[str, float]] = {}
        for name, pictures in made(cells, prior, options.keep):
            rows[name] = pictures
            if name.endswith("left half"):
                continue
            told = judge.judge(pictures)
            right = [pair == (c, k) for pair, c, k in zip(asked, told.category_names, told.color_names, strict=True)]
            row = found[name.removeprefix(f"{kind} ")] = adherence(kind, pictures, shown)
            row["told right"] = 100 * sum(right) / count
            print(f"{name:<13}" + "   ".join(f"{k} {v:5.1f}" for k, v in row.items()), flush=True)
        half = rows[f"{kind} left half"]
        inside, outside = change(half, rows[f"{kind} 1"], rows[f"{kind} 0"])
        print(
            f"{kind:<6} region in the left half: {inside:.2f} of a full hint's change there, {outside:.2f} on the right"
        )
        options.raw[kind] = found | {"region": {"inside": inside, "outside": outside}}
        key = "iou" if kind == "depth" else "recall"
        alone, one = found["0"][key], found["1"][key]
        yield Figure(f"control_{kind}_{key}", one, 90.0, "%")
        yield Figure(f"control_{kind}_missed_of_uncontrolled", (100 - one) / (100 - alone), 0.5, "x", at_most=True)
        yield Figure(f"control_{kind}_rises_with_weight", rising([found[f"{w:g}"][key] for w in WEIGHTS]), 1.0)
        yield Figure(f"control_{kind}_outside_of_region", outside / inside, 0.5, "x", at_most=True)
    write_rows(options.grid, rows)


KINDS = {"nargs": "+", "choices": HINTS, "default": HINTS, "help": "which ControlNets"}
CONTROLS = {"type": Path, "default": None, "metavar": "FOLDER", "help": "trainings depth/ and edge/, not the shipped"}

if __name__ == "__main__":
    main(__doc__, measure, **FLAGS, controls=CONTROLS, kinds=KINDS)
