"""Classifier-free guidance on the toybox: quality and accuracy against its weight.

Ho and Salimans 2022, ImageNet 128 with 256 steps: FID 7.27 at w = 0, best 2.43 at w = 0.3, 21.5 at w = 4,
while the Inception score rises all along. Here the Frechet distance (`toys.Ground`) should have its least value
strictly inside, and the share of pictures that the judge reads as asked should rise. The paper's w is our scale less 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import torch
from samples import Cell, made
from toys import FLAGS, Figure, Ground, Judged, Toys, load, main, rising, seeds, write_rows

from distill3d.diffusion.guided import from_tutorial_weight
from distill3d.diffusion.sampling import sample

PAPER = {0.0: 7.27, 0.3: 2.43, 4.0: 21.5}  # FID on ImageNet 128, 256 steps: the ends, and the least of all


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    prior = load(options.model, options.device)
    count, steps = options.pictures or (32 if options.quick else 64), 10 if options.quick else 20
    weights = (0.0, 0.5, 1.0, 2.0, 4.0) if options.quick else (0.0, 0.3, 0.6, 1.0, 2.0, 4.0)
    toys = Toys.draw(count, 9_000_000)
    ground = Ground(toys, 8 if options.quick else 16)
    shown = {"real": toys.pictures()}
    true = ground.judged(shown["real"])
    print(f"{count} pictures of {steps} steps; real ones: distance {true.distance:.2f}, right {true.right:.0f} %")

    def cell(w: float) -> Cell:
        def draw(rows: slice) -> torch.Tensor:
            scale = from_tutorial_weight(w)
            return sample(prior, toys.condition(prior, rows), steps, scale, generator=seeds(rows))

        return Cell(f"w = {w:g}", count, steps * (1 if w == 0 else 2), draw, f"cfg {steps}")

    found: dict[float, Judged] = {}
    cells = [cell(w) for w in weights]
    for w, (name, pictures) in zip(weights, made(cells, prior, options.keep), strict=True):
        shown[name] = pictures
        found[w] = ground.judged(pictures)
        paper = f"   (the paper's distance {PAPER[w]:5.2f})" if w in PAPER else ""
        print(f"{name:<8} distance {found[w].distance:6.2f}   right {found[w].right:5.1f} %{paper}", flush=True)
    best = min(weights, key=lambda w: found[w].distance)
    for end in (weights[0], weights[-1]):
        more, error = ground.difference(shown[f"w = {end:g}"], shown[f"w = {best:g}"])
        print(f"w = {end:g} is {more:.2f} +- {error:.2f} further away than w = {best:g}")
    write_rows(options.grid, shown)
    options.raw |= {
        "distance": {w: j.distance for w, j in found.items()},
        "right": {w: j.right for w, j in found.items()},
    }
    inside = min(found[w].distance for w in weights[1:-1])
    yield Figure(
        "cfg_ends_over_best_inside", min(found[w].distance for w in (weights[0], weights[-1])) / inside, 1.0, "x"
    )
    yield Figure("cfg_accuracy_rises_with_w", rising([found[w].right for w in weights]), 0.85)


if __name__ == "__main__":
    main(__doc__, measure, **FLAGS)
