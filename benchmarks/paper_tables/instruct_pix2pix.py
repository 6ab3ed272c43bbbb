"""The embedded instruction model: is what was asked for done, and the rest kept? (Brooks et al. 2023)

Pairs of pictures of seeds that no training has met, one instruction each, the plainest wording, camera told and not.
The model samples from noise beside the picture before. Three things are read off every sample:

- told right: the judge names the colour and the kind of the picture after (of materials and parts it knows nothing);
- error: squared, to the picture after, as a share of what doing nothing leaves (the picture before);
- with the text scale 0, the control: how often the judge still names the colour before, and the error to that picture.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import numpy as np
import torch
from toys import FLAGS, Figure, batches, load, main, write_rows

from distill3d.diffusion.instruct import instructed
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.sdedit import edit
from distill3d.toybox.dataset import random_cameras, random_toy
from distill3d.toybox.edit_pairs import PairBatch, draw_pairs
from distill3d.toybox.instructions import KINDS, Instruction, sample_instruction
from distill3d.toybox.judge import Judge
from distill3d.toybox.parts import Toy

SEED = 9_400_000
ASKED = tuple(kind for kind in KINDS if kind != "nothing")


def edits(kind: str, count: int, seed: int) -> list[Instruction]:
    """Changes of one kind, each of another toy, that change something."""
    rng, found = np.random.default_rng((seed, KINDS.index(kind))), []
    while len(found) < count:
        change = sample_instruction(rng, random_toy(rng, "train", None))
        if change.kind == kind and paint(change.before) != paint(change.after) and change.before.relation is None:
            found.append(change)
    return found


def paint(toy: Toy) -> list[tuple]:
    """What an instruction may change of a toy."""
    return [(toy.category, p.name, p.color, p.material) for p in toy.parts]


def pairs(kind: str, count: int, seed: int = SEED) -> PairBatch:
    changes = edits(kind, count, seed)
    cameras = random_cameras(np.random.default_rng(seed), count, 64)
    return draw_pairs(changes, [c.wordings[0] for c in changes], cameras, np.ones(count))


def sampled(
    prior: DiffusionPrior, batch: PairBatch, steps: int, text_scale: float, image_scale: float, camera: bool
) -> torch.Tensor:
    made = []
    for rows in batches(len(batch.instructions)):
        seeds = [torch.Generator().manual_seed(i) for i in range(len(batch.instructions))[rows]]
        cameras = batch.cameras[torch.arange(len(batch.instructions))[rows]] if camera else None
        before = batch.before[rows].to(prior.device)
        condition = prior.condition(batch.instructions[rows], cameras, image=before)
        conditions, scales = instructed(condition, text_scale, image_scale)
        made.append(edit(prior, before, conditions, 1.0, steps, scales, generator=seeds).cpu())
    return torch.cat(made)


def told(judge: Judge, made: torch.Tensor, batch: PairBatch, side: str) -> list[bool]:
    """Whether each picture is named as the toy before, or after."""
    named = judge.judge(made)
    toys = [getattr(change, side) for change in batch.edits]
    seen = zip(toys, named.category_names, named.color_names, strict=True)
    return [(toy.category, toy.color) == (category, color) for toy, category, color in seen]


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    prior, judge = load(options.model, options.device), Judge.load()
    count, steps = options.pictures or (6 if options.quick else 24), 10 if options.quick else 20
    print(f"{count} edits a kind, {steps} DDIM steps, text scale {options.text_scale}, image {options.image_scale}")
    rows: dict[str, torch.Tensor] = {}
    for kind in ASKED:
        batch, found = pairs(kind, count), {}
        nothing = (batch.before - batch.after).square().mean()
        rows |= {f"{kind} before": batch.before, f"{kind} after": batch.after}
        for camera in (True, False):
            made = sampled(prior, batch, steps, options.text_scale, options.image_scale, camera)
            right = sum(told(judge, made, batch, "after")) / count
            error = float((made - batch.after).square().mean() / nothing)
            found["camera" if camera else "no camera"] = {"right": right, "error": error}
            rows[f"{kind} made{'' if camera else ', no camera'}"] = made
        still = sampled(prior, batch, steps, 0.0, 1.0, True)
        kept = sum(told(judge, still, batch, "before")) / count
        found["no text"] = {"right": kept, "error": float((still - batch.before).square().mean() / nothing)}
        rows[f"{kind} text scale 0"] = still
        options.raw[kind] = found
        print(
            f"{kind:<9}" + "   ".join(f"{k}: {v['right']:.0%}, {v['error']:.2f}" for k, v in found.items()), flush=True
        )
        if kind == "color":
            yield Figure("instruct_color_right", 100 * found["camera"]["right"], 80.0, "%")
            yield Figure("instruct_color_kept_without_text", 100 * kept, 80.0, "%")
        yield Figure(f"instruct_{kind}_error", found["camera"]["error"], 0.5, "x", at_most=True)
    write_rows(options.grid, rows)


SCALE = {"type": float, "metavar": "S"}

if __name__ == "__main__":
    FLAGS["model"] = {**FLAGS["model"], "default": "toybox-instruct"}
    main(__doc__, measure, **FLAGS, text_scale={**SCALE, "default": 1.5}, image_scale={**SCALE, "default": 1.0})
