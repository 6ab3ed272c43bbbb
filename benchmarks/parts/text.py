"""Sentences: has the shape what the sentence says, by counting legs and measuring gaps; and edits of chosen parts.

Prompts say one or two attributes of a kind of shape; a shape is right where `toybox.shapes.judge` finds all that was
said. An edit takes a held-out shape, picks the parts that an attribute's words name, and asks for another value; it is
right where the judge then finds that value, and the Gaussians of the other parts have to be what they were, exactly.
The judge knows geometry alone; on the toybox's own shapes it errs in about one attribute of a hundred.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from figures import Figure, main
from held_out import SEED, cells, held_out, solid

from distill3d.core.errors import UserError
from distill3d.parts.generation import edit, generate
from distill3d.parts.inversion import invert
from distill3d.parts.model import PartModel, load_part_model
from distill3d.parts.parts import Parts
from distill3d.parts.surface import to_mesh
from distill3d.parts.words import words_of
from distill3d.toybox.shapes.attributes import KINDS, Attributes
from distill3d.toybox.shapes.captions import caption
from distill3d.toybox.shapes.judge import judge
from distill3d.toybox.shapes.part_words import ABOUT


def prompts(count: int) -> list[tuple[str, Attributes]]:
    """Kinds in turn, with one or two attributes each."""
    rng, kinds = np.random.default_rng(SEED), sorted(KINDS)
    asked = []
    for i in range(count):
        kind = kinds[i % len(kinds)]
        known = KINDS[kind].attributes
        names = [str(n) for n in rng.permutation(list(known))[: 1 + int(rng.integers(2))]]
        asked.append((kind, {n: list(known[n])[int(rng.integers(len(known[n])))] for n in names}))
    return asked


def parts_about(model: PartModel, shape: Parts, kind: str, attribute: str) -> list[int]:
    """Numbers of the parts that an attribute is about; none where the shape has no such part."""
    assert model.namer is not None
    found = []
    for word in ABOUT[kind][attribute]:
        try:
            found += model.namer.called(shape, word)
        except UserError:
            continue
    return sorted(found)


def edits(model: PartModel, count: int) -> Iterable[tuple[bool, bool, str]]:
    """For each edit: is it right, is the rest as it was, and what it was."""
    rng, done, index = np.random.default_rng(SEED + 1), 0, 0
    while done < count:
        toy = held_out(1, first=3000 + index)[0]
        index += 1
        names = [name for name in ABOUT[toy.kind] if name != "shelf"]  # which is there or not
        attribute = names[int(rng.integers(len(names)))]
        before = toy.attributes[attribute]
        values = [v for v in KINDS[toy.kind].attributes[attribute] if v not in (before, "none")]
        value = values[int(rng.integers(len(values)))]
        shape = invert(model.network, cells(toy), 0)
        chosen = [] if before == "none" else parts_about(model, shape, toy.kind, attribute)
        if not chosen:  # there is nothing there to become something else
            continue
        mask = shape.check(chosen)
        sentence = caption(toy.kind, {attribute: value})
        made = edit(model.generator(), shape, mask, words_of(sentence), 1, torch.Generator().manual_seed(done))[0]
        old, new = (vars(s.gaussians).values() for s in (shape, made))
        same = all(torch.equal(a[~mask], b[: len(a)][~mask]) for a, b in zip(old, new, strict=True))
        found = judge(solid(model.network, made).numpy(), toy.kind)[attribute]
        done += 1
        yield found == value, same, f"{toy.kind}.{attribute}: {before} to {value}, found {found}"


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    model = load_part_model(options.model)
    salad, parts = model.generator(), model.network.sizes.parts
    count, edited = (12, 6) if options.quick else (options.count, options.edits)
    asked = prompts(count)
    right, said = 0, {}
    for i, (kind, attributes) in enumerate(asked):
        words = words_of(caption(kind, attributes))
        shape = generate(salad, words, 1, parts, torch.Generator().manual_seed(i), options.cfg_scale)[0]
        filled = solid(model.network, shape).numpy()
        found = judge(filled, kind) if filled.any() else {}
        for name, value in attributes.items():
            said.setdefault(f"{kind}.{name}", []).append(found.get(name) == value)
        right += all(found.get(name) == value for name, value in attributes.items())
        if (i + 1) % 20 == 0:
            print(f"{i + 1} of {count} prompts: {right} right", flush=True)
    for name, values in sorted(said.items()):
        print(f"{name:<14} {sum(values):>3} of {len(values)}")
    changed, kept = 0, 0
    for good, same, what in edits(model, edited):
        changed, kept = changed + good, kept + same
        if options.list:
            print(("right  " if good else "wrong  ") + what, flush=True)
    start = time.perf_counter()
    shape = generate(salad, words_of("a chair with round arms"), 1, parts, torch.Generator().manual_seed(0))[0]
    mesh = to_mesh(model.network, shape, 128)
    seconds = time.perf_counter() - start
    print(f"a chair with round arms: {len(mesh.faces)} faces in {seconds:.1f} s")
    options.raw.update(by_attribute=said)
    yield Figure("text_attributes_right", right, goal=0.75 * count, out_of=count)
    yield Figure("edits_right", changed, goal=0.65 * edited, out_of=edited)
    yield Figure("edits_kept_the_rest_exactly", kept, goal=edited, out_of=edited)
    yield Figure("text_to_shape_seconds", seconds, goal=10, unit="s", at_most=True)


if __name__ == "__main__":
    main(
        __doc__,
        measure,
        model={"default": "toybox", "help": "toybox, or a folder of part models"},
        count={"type": int, "default": 100, "help": "prompts"},
        edits={"type": int, "default": 60, "help": "edits"},
        cfg_scale={"type": float, "default": 3.0, "help": "of classifier-free guidance"},
        list={"action": "store_true", "help": "print every edit"},
    )
