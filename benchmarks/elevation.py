"""How far off is the elevation that is read off a picture? Degrees, on toys that it was not compared with.

The control answers every picture with the mean of the range: what it costs to know nothing. By category: where the
method fails, it is on things that look alike from every height.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import torch
from figures import Figure, main

from distill3d.toybox.categories import CATEGORIES
from distill3d.toybox.elevation import RANGE, TOYS, draw_views, read_elevation

FRESH = 7_000_000
GOAL = 0.5  # of the control's error


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    count = 60 if options.quick else options.pictures
    pictures, true = draw_views(count, FRESH)
    off = torch.rad2deg((read_elevation(pictures, options.toys) - true).abs())
    control = (torch.rad2deg(true) - sum(RANGE) / 2).abs()
    print(f"{count} pictures: mean {off.mean():.1f}, median {off.median():.1f}, within 10 degrees {(off < 10).sum()}")
    print(f"always {sum(RANGE) / 2:.0f}: mean {control.mean():.1f}, median {control.median():.1f}")
    names = list(CATEGORIES)
    by_category = {name: float(off[i :: len(names)].mean()) for i, name in enumerate(names) if i < count}
    worst = sorted(by_category, key=lambda name: -by_category[name])[:8]
    print("worst: " + ", ".join(f"{name} {by_category[name]:.0f}" for name in worst))
    options.raw |= {"off": off.tolist(), "control": control.tolist(), "by_category": by_category}
    yield Figure("elevation_error_over_control", float(off.mean() / control.mean()), goal=GOAL, unit="x", at_most=True)


if __name__ == "__main__":
    main(
        __doc__,
        measure,
        pictures={"type": int, "default": 256, "help": "held-out toys (256)"},
        toys={"type": int, "default": TOYS, "help": f"that they are compared with ({TOYS})"},
    )
