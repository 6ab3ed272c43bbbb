"""Completion: parts of held-out shapes are taken away and made anew by SALAD.

The parts that stay have to come back bit for bit, and the whole has to hang together: at least 99 % of its cells in one
piece (cells that touch at a corner belong together). As the command does, four versions are made and the first in one
piece is taken; how many of the first versions are is printed beside. Taken away: three to eight of the parts, those
nearest to a part drawn at random.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from figures import Figure, main
from held_out import cells, held_out, solid

from distill3d.parts.connected import TRIES, WHOLE, best_connected, largest_piece
from distill3d.parts.generation import complete
from distill3d.parts.inversion import invert
from distill3d.parts.model import load_part_model


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    model = load_part_model(options.model)
    salad, count = model.generator(), 5 if options.quick else options.count
    kept, whole, at_once, before = 0, 0, 0, 0
    for i, toy in enumerate(held_out(count, first=1000)):
        generator = torch.Generator().manual_seed(i)
        shape = invert(model.network, cells(toy), 0)
        taken = 3 + int(torch.randint(6, (), generator=generator))
        start = int(torch.randint(len(shape), (), generator=generator))
        away = (shape.gaussians.means - shape.gaussians.means[start]).norm(dim=1)
        replaced = torch.zeros(len(shape), dtype=torch.bool)
        replaced[away.argsort()[:taken]] = True
        noises = [torch.Generator().manual_seed(1000 * k + i) for k in range(options.tries)]
        versions = complete(salad, shape, replaced, [toy.kind], len(noises), noises).each()
        made = best_connected(model.network, versions)
        same = [
            torch.equal(a[~replaced], b[~replaced])
            for a, b in zip(
                (*vars(shape.gaussians).values(), shape.intrinsics),
                (*vars(made.gaussians).values(), made.intrinsics),
                strict=True,
            )
        ]
        kept += all(same)
        before += largest_piece(solid(model.network, shape).numpy()) >= WHOLE
        whole += largest_piece(solid(model.network, made).numpy()) >= WHOLE
        at_once += largest_piece(solid(model.network, versions[0]).numpy()) >= WHOLE
        if (i + 1) % 10 == 0:
            counts = f"in one piece {whole} (first tries: {at_once}; before: {before})"
            print(f"{i + 1} of {count}: kept exactly {kept}, {counts}", flush=True)
    options.raw.update(before=before, first_tries=at_once)
    yield Figure("completion_kept_exactly", kept, goal=count, out_of=count)
    yield Figure("completion_in_one_piece", whole, goal=0.9 * count, out_of=count)


if __name__ == "__main__":
    main(
        __doc__,
        measure,
        model={"default": "toybox", "help": "toybox, or a folder of part models"},
        count={"type": int, "default": 100, "help": "held-out shapes"},
        tries={"type": int, "default": TRIES, "help": "versions of each"},
    )
