"""Learn which words the found parts answer to: `distill3d toybox train-part-names`. A few minutes, seeded.

The parts were found without words. Each is told by the word of the toy's own parts that holds most of what its
Gaussian holds; a small network learns to say it from the part's vectors.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from distill3d.core.errors import UserError
from distill3d.parts.model import TOYBOX, load_network, save_namer
from distill3d.parts.naming import PartNamer
from distill3d.parts.network import PartNetwork
from distill3d.parts.parts import Parts
from distill3d.toybox.shapes.attributes import AttributedShape, sample_shape
from distill3d.toybox.shapes.part_words import NAMES, word_of
from distill3d.toybox.shapes.samples import batch_of
from distill3d.toybox.shapes.solid_grid import holding_part


def true_names(shape: AttributedShape, parts: Parts, points: Tensor) -> Tensor:
    """For each part of one shape the position in `NAMES` of the word that it holds most of, [P]; -1 for none.

    Args:
        points: [M, 3], drawn evenly from the solid.
    """
    held = torch.from_numpy(holding_part(shape.parts, points.numpy()).astype(np.int64))
    words = torch.tensor([NAMES.index(word_of(part.name)) for part in shape.parts])
    owner = parts.gaussians.assign(points)
    counts = torch.zeros(len(parts), len(NAMES))
    known = held >= 0
    counts.index_put_((owner[known], words[held[known]]), torch.ones(int(known.sum())), accumulate=True)
    return torch.where(counts.sum(1) > 0, counts.argmax(1), -1)


def named_batch(network: PartNetwork, seed: int, index: int, count: int) -> tuple[Parts, Tensor]:
    """Parts of `count` shapes, and their words [B, P]."""
    rng = np.random.default_rng((seed, index))
    batch = batch_of([sample_shape(rng) for _ in range(count)], rng, points=4, inside=2048)
    with torch.no_grad():
        intrinsics, gaussians = network.parts_of(batch.coarse)
    parts = Parts(gaussians, intrinsics)
    names = [true_names(shape, parts[i], batch.inside[i]) for i, shape in enumerate(batch.shapes)]
    return parts, torch.stack(names)


def train_namer(network: PartNetwork, steps: int, batch: int, seed: int) -> PartNamer:
    """A namer for the network's parts; progress is printed."""
    torch.manual_seed(seed)
    namer = PartNamer(NAMES, network.sizes.intrinsics)
    optimizer = torch.optim.AdamW(namer.parameters(), 2e-3)
    for step in range(steps):
        parts, names = named_batch(network, seed, step, batch)
        scores = namer(parts).flatten(0, 1)
        loss = functional.cross_entropy(scores, names.flatten(), ignore_index=-1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % 50 == 0 or step + 1 == steps:
            known = names.flatten() >= 0
            right = (scores.argmax(-1) == names.flatten())[known].float().mean()
            print(f"{step + 1} of {steps} steps  loss {loss.item():.3f}  right {right:.1%}", flush=True)
    return namer


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("distill3d toybox train-part-names", description=__doc__)
    parser.add_argument("--parts", default=TOYBOX, help="folder of a part network (default: the embedded one)")
    parser.add_argument("--out", type=Path, default=Path("outputs/toybox-part-names"), help="folder for the words")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=80)
    args = parser.parse_args(argv)
    if args.steps < 1 or args.batch < 1:
        raise UserError("--steps and --batch are at least 1")
    namer = train_namer(load_network(args.parts), args.steps, args.batch, args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    save_namer(namer, args.out)


if __name__ == "__main__":
    main()
