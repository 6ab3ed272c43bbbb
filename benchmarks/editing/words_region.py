"""Regions by words on toys whose parts are known: how much of the part that is meant is found, and nothing else?

Each case is a toy of the toybox as a mesh, what it is in words, words of that, and the parts that they mean: those
painted in the colour that is named, or those of one of two objects. The surface is located by both ways of asking the
embedded prior (see `distill3d.run.word_region`), and compared cell by cell with the labels of the nearest vertices
(intersection over union). The negative control asks for the other word of the same sentence: its region has to miss
the part. By chance the IoU is at most the part's share of the surface.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from figures import Figure, main

from distill3d.core.threads import use_threads
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.renderers import MeshRenderer
from distill3d.run.word_region import BY, By, all_around, word_scores
from distill3d.toybox.palette import PALETTE
from distill3d.toybox.part_mesh import part_mesh
from distill3d.toybox.parts import Toy
from distill3d.toybox.world import toy_from_prompt

CELL = 0.05
GOAL = 0.6  # median IoU


@dataclass(frozen=True)
class Case:
    """What a toy is, words of it, and words of the same sentence that mean something else, if there are any."""

    prompt: str
    words: str
    other: str | None = None


CASES = (
    Case("a red mushroom", "red"),
    Case("a blue lamp", "blue"),
    Case("a red house", "red"),
    Case("a green tree", "green"),
    Case("a yellow car", "yellow"),
    Case("a blue penguin", "blue"),
    Case("a red hat on top of a blue cube", "hat", "cube"),
    Case("a red hat on top of a blue cube", "cube", "hat"),
    Case("a green sphere on top of a yellow table", "sphere", "table"),
    Case("a green sphere on top of a yellow table", "table", "sphere"),
    Case("a red cone next to a blue cylinder", "cone", "cylinder"),
    Case("a blue mug next to a yellow cube", "mug", "cube"),
)
QUICK = (CASES[0], CASES[10])


def meant(toy: Toy, words: str) -> np.ndarray:
    """Which parts words mean, [P] bool: those of the colour that they name, or of the object."""
    if words in PALETTE:
        return np.array([np.allclose(part.color, PALETTE[words], atol=0.02) for part in toy.parts])
    return np.array([part.name.startswith(f"{words}: ") for part in toy.parts])


@dataclass(frozen=True)
class Row:
    """What was found of a case by one way of asking. share: of the part in the surface. wrong: the IoU of the region
    of the other words with this part."""

    case: Case
    seed: int
    by: str
    iou: float
    share: float
    wrong: float | None


def overlap(found: torch.Tensor, part: torch.Tensor) -> float:
    return float((found & part).sum() / (found | part).sum().clamp(min=1))


def located(prior: DiffusionPrior, case: Case, seed: int, by: By) -> Row:
    toy = toy_from_prompt(case.prompt, np.random.default_rng(seed))
    mesh, labels = part_mesh(toy)
    mesh = mesh.in_unit_ball()  # as an edit draws it
    renderer, tree = MeshRenderer.from_mesh(mesh), cKDTree(mesh.vertices)
    truth = meant(toy, case.words)[labels]
    asked = [words for words in (case.words, case.other) if words is not None]
    found = [word_scores(renderer, prior, case.prompt, words, by, all_around(), CELL) for words in asked]
    part = torch.from_numpy(truth[tree.query((found[0].cells.numpy() + 0.5) * CELL)[1]])
    overlaps = [overlap(scores.chosen, part) for scores in found]
    return Row(case, seed, by, overlaps[0], float(part.float().mean()), overlaps[1] if case.other else None)


def line(row: Row) -> str:
    wrong = "-" if row.wrong is None else f"{row.wrong:.2f}"
    return f"{row.case.prompt:<42} {row.case.words:<8} {row.by:<11} {row.iou:>5.2f} {row.share:>6.2f} {wrong:>6}"


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    use_threads(1)
    prior = DiffusionPrior()
    print(f"{'toy':<42} {'words':<8} {'by':<11} {'IoU':>5} {'share':>6} {'other':>6}")
    rows = []
    for case in QUICK if options.quick else CASES:
        for by in BY:
            rows.append(located(prior, case, options.seed, by))
            print(line(rows[-1]), flush=True)
    options.raw["rows"] = [asdict(row) for row in rows]
    return figures(rows)


def figures(rows: list[Row]) -> list[Figure]:
    found = []
    for by in BY:
        own = [row for row in rows if row.by == by]
        found.append(Figure(f"words_{by}_iou", statistics.median(row.iou for row in own), GOAL))
        wrong = [row.wrong for row in own if row.wrong is not None]
        if wrong:
            found.append(Figure(f"words_{by}_iou_of_other", statistics.median(wrong), GOAL / 2, at_most=True))
    return found


if __name__ == "__main__":
    main(__doc__, measure, seed={"type": int, "default": 20, "help": "of the toys"})
