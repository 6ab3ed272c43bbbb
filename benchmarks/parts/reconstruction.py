"""Part Gaussians of held-out shapes: volumetric IoU of what the encoder reads, and after descent on the parts.

The shapes are those of the toybox's procedural world, from seeds that no training saw; IoU is over a grid of 64 cells.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from figures import Figure, main
from held_out import cells, held_out, overlap, solid

from distill3d.parts.inversion import STEPS, invert
from distill3d.parts.model import load_network


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    network = load_network(options.model)
    count, steps = (8, 50) if options.quick else (options.count, STEPS)
    read: dict[str, list[float]] = {}
    descended: dict[str, list[float]] = {}
    for i, shape in enumerate(held_out(count)):
        grid = cells(shape)
        for found, at in ((read, 0), (descended, steps)):
            found.setdefault(shape.kind, []).append(overlap(solid(network, invert(network, grid, at)), grid > 0.5))
        if (i + 1) % 10 == 0:
            print(f"{i + 1} of {count} shapes", flush=True)
    print(f"{'kind':<8} shapes  encoder  descent (median IoU)")
    for kind in sorted(read):
        values = statistics.median(read[kind]), statistics.median(descended[kind])
        print(f"{kind:<8} {len(read[kind]):>6}  {values[0]:.3f}    {values[1]:.3f}")
    options.raw.update(encoder=read, descent=descended)
    yield Figure("parts_iou_encoder", statistics.median(chain(*read.values())), goal=0.85)
    yield Figure("parts_iou", statistics.median(chain(*descended.values())), goal=0.85)


if __name__ == "__main__":
    main(
        __doc__,
        measure,
        model={"default": "toybox", "help": "toybox, or a folder of part models"},
        count={"type": int, "default": 60, "help": "held-out shapes"},
    )
