"""Moving one part's Gaussian: how much of what the part holds goes with it, and how much of the rest is disturbed.

Each part of held-out shapes that holds at least 2 % of the solid is moved rigidly, a shift of 0.2 and a turn of 0.3
radians about its own middle. Moved: of the cells that the part held, the share whose new place is solid afterwards.
Disturbed: of the cells that the other parts held, the share that is solid no longer.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from figures import Figure, main
from held_out import cell_centres, cells, held_out
from torch.nn import functional

from distill3d.parts.inversion import invert
from distill3d.parts.losses import rotation_about
from distill3d.parts.model import load_network
from distill3d.parts.parts import Parts

SHIFT, TURN, LEAST = 0.2, 0.3, 0.02


@torch.no_grad()
def measure(options: argparse.Namespace) -> Iterable[Figure]:
    network, centres = load_network(options.model), cell_centres()
    generator = torch.Generator().manual_seed(0)
    moved, disturbed = [], []
    for i, toy in enumerate(held_out(3 if options.quick else options.count)):
        shape = invert(network, cells(toy), 0)
        inside = network.logits(shape.intrinsics[None], shape.gaussians[None], centres[None])[0] > 0
        points = centres[inside]
        owner = shape.gaussians.assign(points)
        for part in owner.unique().tolist():
            own = points[owner == part]
            if len(own) < LEAST * len(points):
                continue
            axis, away = (functional.normalize(torch.randn(3, generator=generator), dim=0) for _ in range(2))
            turn = rotation_about(axis, torch.tensor(TURN))
            middle = shape.gaussians.means[part]
            shift = middle - turn @ middle + SHIFT * away
            chosen = torch.arange(len(shape)) == part
            gaussians = shape.gaussians.moved(turn, torch.tensor(1.0), shift, chosen)
            changed = Parts(gaussians, shape.intrinsics)
            asked = torch.cat([own @ turn.T + shift, points[owner != part]])
            solid = network.logits(changed.intrinsics[None], gaussians[None], asked[None])[0] > 0
            moved.append(float(solid[: len(own)].float().mean()))
            disturbed.append(1 - float(solid[len(own) :].float().mean()))
        means = statistics.mean(moved), statistics.mean(disturbed)
        print(f"{i + 1} shapes: moved {means[0]:.3f}, disturbed {means[1]:.3f}", flush=True)
    options.raw.update(moved=moved, disturbed=disturbed)
    yield Figure("part_moved_with_its_gaussian", statistics.mean(moved), goal=0.8)
    yield Figure("other_parts_disturbed", statistics.mean(disturbed), goal=0.05, at_most=True)


if __name__ == "__main__":
    main(
        __doc__,
        measure,
        model={"default": "toybox", "help": "toybox, or a folder of part models"},
        count={"type": int, "default": 20, "help": "held-out shapes"},
    )
