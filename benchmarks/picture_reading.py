"""What a picture shows, from where, and how large: how often does the embedded novel-view model read it right?

Toys of seeds that no training meets, of kinds one after the other, are photographed once and framed as a run frames
what it cuts out. Read are caption, azimuth and size (`diffusion.pose_search`). Azimuths count for kinds whose front is
there once; where the picture does not show it, as a mug's handle behind the mug, the reading has to be wrong at times.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterable

import torch
from figures import Figure, main
from image_to_3d import subject

from distill3d.core.cameras import Cameras
from distill3d.diffusion.pixel_novel_view import PixelNovelView
from distill3d.toybox.categories import CATEGORIES
from distill3d.toybox.framing import seen_in_frame
from distill3d.toybox.pictures import pack
from distill3d.toybox.pose import azimuth_error

SEED = 78_000


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    prior, count = PixelNovelView(), 4 if options.quick else options.count
    kinds = list(CATEGORIES)
    right, off, sizes = [], [], []
    print(f"{'toy':<22} {'read as':<22} {'azimuth off':>11} {'size':>5}")
    for i in range(count):
        shown = subject(i, kinds[i * 7 % len(kinds)], SEED)
        toy, camera = shown.toy, shown.camera.resized(64)
        picture = torch.from_numpy(seen_in_frame(pack(toy), shown.frame, camera, 1.0, 3))
        given = Cameras.orbit(0.0, camera.elevation, camera.distance, camera.fov, 64)
        sight = prior.remember(picture, given).sight
        assert sight is not None
        error = math.degrees(float(azimuth_error(torch.tensor(sight.azimuth), camera.azimuth[0])))
        right.append(sight.caption == toy.captions[0])
        if CATEGORIES[toy.category].asymmetric:
            off.append(error)
        sizes.append(abs(math.log(sight.zoom * shown.frame.scale)))
        size = sight.zoom * shown.frame.scale
        print(f"{toy.captions[0]:<22} {sight.caption:<22} {error:>11.0f} {size:>5.2f}", flush=True)
    options.raw.update(right=right, off=off, sizes=sizes)
    yield Figure("caption_right", sum(right), goal=math.ceil(0.9 * count), out_of=count)
    near = [error < 30 for error in off]
    yield Figure("azimuth_within_30", sum(near), goal=math.ceil(0.85 * len(near)), out_of=len(near))
    yield Figure("azimuth_median_error", statistics.median(off), goal=10, unit="degrees", at_most=True)
    yield Figure("size_median_error", 100 * statistics.median(sizes), goal=5, unit="%", at_most=True)


if __name__ == "__main__":
    main(__doc__, measure, count={"default": 60, "help": "toys"})
