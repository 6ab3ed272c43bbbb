"""SDEdit on the toybox: from strokes to toys, faithful or real (Meng et al. 2022).

Real pictures are made into strokes: squares of 8 pixels in few colours. Each starting time t0 gives the root mean
square of what SDEdit changed (faithfulness falls as it rises) and the Frechet distance to real pictures (realism
rises as it falls). The paper reads the best t0 of strokes off the same pair of curves, between 0.3 and 0.6.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from samples import Cell, made
from toys import FLAGS, Figure, Ground, Toys, load, main, rising, seeds, write_rows

from distill3d.diffusion.sdedit import edit
from distill3d.diffusion.timesteps import started_at, timesteps

SQUARE, LEVELS = 8, 5


def strokes(pictures: torch.Tensor) -> torch.Tensor:
    """Squares of one colour each, out of few."""
    coarse = F.avg_pool2d(pictures.permute(0, 3, 1, 2), SQUARE)
    few = (coarse * (LEVELS - 1)).round() / (LEVELS - 1)
    return F.interpolate(few, scale_factor=SQUARE).permute(0, 2, 3, 1)


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    prior = load(options.model, options.device)
    count, steps = options.pictures or (32 if options.quick else 48), 20 if options.quick else 25
    starts = (0.2, 0.35, 0.5, 0.65, 0.8) if options.quick else (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    toys = Toys.draw(count, 9_000_000)
    ground = Ground(toys, 8 if options.quick else 16)
    shown = {"real": toys.pictures()}
    guides = shown["strokes"] = strokes(shown["real"])
    print(
        f"{count} pictures, at distance {ground.distance(shown['real']):.2f}; strokes at {ground.distance(guides):.2f}"
    )

    def cell(t0: float) -> Cell:
        calls = len(started_at(timesteps(steps), prior.schedule.fraction(t0))) - 1

        def draw(rows: slice) -> torch.Tensor:
            guide, condition = guides[rows].to(prior.device), toys.condition(prior, rows)
            return edit(prior, guide, condition, t0, steps, cfg_scale=2.0, generator=seeds(rows))

        return Cell(f"t0 = {t0:g}", count, 2 * calls, draw, f"sdedit {steps}")

    changed, distance = [], []
    for t0, (name, pictures) in zip(starts, made([cell(t0) for t0 in starts], prior, options.keep), strict=True):
        shown[name] = pictures
        changed.append(float((pictures - guides).square().mean().sqrt()))
        distance.append(ground.distance(pictures))
        print(f"t0 = {t0:<5g} changed {changed[-1]:.3f}   distance {distance[-1]:6.2f}", flush=True)
    write_rows(options.grid, shown)
    options.raw |= {"t0": starts, "changed": changed, "distance": distance}
    yield Figure("sdedit_change_rises_with_t0", rising(changed), 0.95)
    yield Figure("sdedit_distance_falls_with_t0", -rising(distance), 0.9)


if __name__ == "__main__":
    main(__doc__, measure, **FLAGS)
