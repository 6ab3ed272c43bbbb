"""Shapes of parts made, changed and put together: what `distill3d parts` does, a function for each verb."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from distill3d.core.errors import UserError
from distill3d.files.meshes.reading import Up
from distill3d.parts import generation
from distill3d.parts.connected import TRIES, best_connected
from distill3d.parts.model import TOYBOX, PartModel, load_part_model, model_folder
from distill3d.parts.moving import moved, turn
from distill3d.parts.parts import Parts
from distill3d.run.backend import reproducible
from distill3d.run.parts_choice import chosen_parts
from distill3d.run.parts_folder import Written, chosen_folder, write_shapes
from distill3d.run.parts_sentence import heard, heard_of_change
from distill3d.run.parts_shape import check_source, open_shape
from distill3d.run.progress import Progress

LIMITS = {
    "--n": (1, 64),
    "--steps": (1, 1000),
    "--cfg-scale": (0.0, 100.0),
    "--seed": (0, 2**63 - 64 * 17),
    "--resolution": (16, 512),
    "--strength": (0.0, 1.0),
    "--tries": (1, 16),
}


@dataclass(frozen=True)
class Asked:
    """What the verbs are asked for, each what it knows of.

    Args:
        out: a new folder, with a number added where one stands; by default under outputs/parts.
        model: "toybox", or a folder of part models. seed: of the noise. count: shapes that are made.
        steps: of each of the two phases. cfg_scale: 1 is none, and the default of a
            completion; else 3. resolution: grid points along a side of the surfaces.
        tries: versions of each completion or edit, of which the first in one piece is taken.
        up: the axis that points up in mesh files.
    """

    out: str | Path | None = None
    model: str | Path = TOYBOX
    seed: int = 0
    count: int = 1
    steps: int = generation.STEPS
    cfg_scale: float | None = None
    resolution: int = 128
    tries: int = TRIES
    up: Up | None = None

    def check(self, *sources: str | Path, **more: float) -> None:
        """Before any work.

        Raises:
            UserError: a number out of range, a source that is not there, or an unknown model.
        """
        values = {"--n": self.count, "--steps": self.steps, "--cfg-scale": self.guidance(), "--seed": self.seed}
        values |= {"--resolution": self.resolution, "--tries": self.tries}
        values |= {f"--{name}": value for name, value in more.items()}
        for name, value in values.items():
            low, high = LIMITS[name]
            if not low <= value <= high:
                raise UserError(f"{name} is {low:g} to {high:g} (got {value:g})")
        for source in sources:
            check_source(source)
        model_folder(self.model)

    def guidance(self, default: float = generation.CFG_SCALE) -> float:
        """The guidance scale, as asked or as the verb has it."""
        return default if self.cfg_scale is None else self.cfg_scale

    def generators(self, tries: int = 1) -> list[torch.Generator]:
        """`tries` for each shape, one after another, which are the same whatever `count` and `tries` are."""
        most = int(LIMITS["--n"][1])
        seeds = [self.seed + i + most * k for i in range(self.count) for k in range(tries)]
        return [torch.Generator().manual_seed(seed) for seed in seeds]


def generate(sentence: str, asked: Asked, progress: Progress | None = None) -> Written:
    """Shapes that a sentence describes.

    Raises:
        UserError: anything that the caller can put right, before any work where that can be known; as all verbs here.
    """
    asked.check()
    folder = chosen_folder(asked.out, sentence)
    with _opened(asked, progress) as (model, progress):
        words = heard(sentence, model.generator().vocabulary, progress)
        count = model.network.sizes.parts
        options = (asked.guidance(), asked.steps)
        with _sampling(asked, progress) as seen:
            made = generation.generate(
                model.generator(), words, asked.count, count, asked.generators(), *options, progress=seen
            )
        return write_shapes(model, made.each(), folder, asked.resolution, progress)


def complete(
    source: str | Path, parts: str, asked: Asked, progress: Progress | None = None, sentence: str | None = None
) -> Written:
    """Some parts of a shape made anew; the others stay as they are, to the bit.

    Args:
        source: a shape of parts or a mesh, see `parts_shape`. parts: which are made anew, see `parts_choice`.
        sentence: what the whole is to be, in which the new parts follow it.
    """
    asked.check(source)
    folder = chosen_folder(asked.out, f"{Path(source).stem} complete")
    with _opened(asked, progress) as (model, progress):
        salad = model.generator()
        words = [] if sentence is None else heard_of_change(sentence, salad.vocabulary, progress)
        shape = open_shape(source, model, progress, asked.up)
        replaced = chosen_parts(parts, shape, model.namer)
        options = (asked.guidance(generation.COMPLETION_CFG_SCALE), asked.steps)
        with _sampling(asked, progress) as seen:
            noises = asked.generators(asked.tries)
            versions = generation.complete(
                salad, shape, replaced, words, len(noises), noises, *options, progress=seen
            ).each()
        return write_shapes(model, _chosen(model, versions, asked), folder, asked.resolution, progress)


def edit(source: str | Path, sentence: str, parts: str, asked: Asked, progress: Progress | None = None) -> Written:
    """Some parts of a shape changed to what a sentence says of it: "the one with gaps in the back".

    Parts keep their numbers, and new ones may stand after them; see `generation.edit`.
    """
    asked.check(source)
    folder = chosen_folder(asked.out, f"{Path(source).stem} {sentence}")
    with _opened(asked, progress) as (model, progress):
        salad = model.generator()
        words = heard_of_change(sentence, salad.vocabulary, progress)
        shape = open_shape(source, model, progress, asked.up)
        replaced = chosen_parts(parts, shape, model.namer)
        options = (asked.guidance(), asked.steps)
        with _sampling(asked, progress) as seen:
            noises = asked.generators(asked.tries)
            versions = generation.edit(
                salad, shape, replaced, words, len(noises), noises, generation.SPARE, *options, progress=seen
            )
        return write_shapes(model, _chosen(model, versions, asked), folder, asked.resolution, progress)


def mix(
    first: str | Path,
    second: str | Path,
    from_first: str,
    from_second: str,
    asked: Asked,
    progress: Progress | None = None,
    strength: float = generation.MIX_STRENGTH,
) -> Written:
    """Parts of one shape, which stay as they are, and parts of another, which come to fit them by SDEdit.

    Args:
        from_first, from_second: which parts, see `parts_choice`.
        strength: how much the parts of the second may change: 0 not at all, 1 altogether.
    """
    asked.check(first, second, strength=strength)
    folder = chosen_folder(asked.out, f"{Path(first).stem} and {Path(second).stem}")
    with _opened(asked, progress) as (model, progress):
        salad = model.generator()
        kept = open_shape(first, model, progress, asked.up)
        added = _weighed_like(open_shape(second, model, progress, asked.up), kept)
        kept = kept.only(chosen_parts(from_first, kept, model.namer, "--from-a"))
        added = added.only(chosen_parts(from_second, added, model.namer, "--from-b"))
        with _sampling(asked, progress) as seen:
            made = generation.mix(
                salad,
                kept,
                added,
                asked.count,
                asked.generators(),
                strength,
                None,
                asked.guidance(),
                asked.steps,
                seen,
            )
        return write_shapes(model, made.each(), folder, asked.resolution, progress)


def interpolate(first: str | Path, second: str | Path, asked: Asked, progress: Progress | None = None) -> Written:
    """`asked.count` shapes from the first to the second, both included."""
    asked.check(first, second)
    if asked.count < 2:
        raise UserError(f"--n is 2 to {LIMITS['--n'][1]} for an interpolation (got {asked.count})")
    folder = chosen_folder(asked.out, f"{Path(first).stem} to {Path(second).stem}")
    with _opened(asked, progress) as (model, progress):
        start, end = (open_shape(source, model, progress, asked.up) for source in (first, second))
        made = generation.interpolate(start, end, asked.count)
        return write_shapes(model, made.each(), folder, asked.resolution, progress)


def move(
    source: str | Path,
    parts: str,
    asked: Asked,
    progress: Progress | None = None,
    translate: tuple[float, float, float] = (0.0, 0.0, 0.0),
    rotate: tuple[str, float] = ("z", 0.0),
    scale: float = 1.0,
) -> Written:
    """Some parts shifted, turned and scaled about their middle; the surface follows.

    Args:
        translate: world units. rotate: x, y or z, and degrees.
    """
    asked.check(source)
    rotation, shift = turn(*rotate), torch.tensor(translate)
    folder = chosen_folder(asked.out, f"{Path(source).stem} moved")
    with _opened(asked, progress) as (model, progress):
        shape = open_shape(source, model, progress, asked.up)
        made = moved(shape, chosen_parts(parts, shape, model.namer), shift, rotation, scale)
        return write_shapes(model, [made], folder, asked.resolution, progress)


def show(source: str | Path, asked: Asked, progress: Progress | None = None) -> tuple[Written, list[str]]:
    """A shape written as the others are, and a table of its parts, a line each."""
    asked.check(source)
    folder = chosen_folder(asked.out, f"{Path(source).stem} parts")
    with _opened(asked, progress) as (model, progress):
        shape = open_shape(source, model, progress, asked.up)
        done = write_shapes(model, [shape], folder, asked.resolution, progress)
        return done, table(shape, model)


def table(shape: Parts, model: PartModel) -> list[str]:
    """Number, word, share of the mixture, mean, and the three standard deviations of each part, a line each."""
    names = ["part"] * len(shape) if model.namer is None else model.namer.names_of(shape)
    shares = shape.gaussians.logits.softmax(-1).tolist()
    width = max(4, *(len(name) for name in names))
    lines = [f"{'no.':>3}  {'part':<{width}}  share  {'mean x, y, z':<21}  standard deviations"]
    deviations = shape.gaussians.eigenvalues.sqrt().sort(-1, descending=True).values.tolist()
    for number, name in enumerate(names):
        mean = " ".join(f"{v:6.3f}" for v in shape.gaussians.means[number].tolist())
        wide = " ".join(f"{v:.3f}" for v in deviations[number])
        lines.append(f"{number:>3}  {name:<{width}}  {shares[number]:5.1%}  {mean:<21}  {wide}")
    return lines


def _weighed_like(shape: Parts, other: Parts) -> Parts:
    """The same shape, whose parts beside those of `other` have the shares that they had."""
    level = other.gaussians.logits.logsumexp(-1) - shape.gaussians.logits.logsumexp(-1)
    return Parts(replace(shape.gaussians, logits=shape.gaussians.logits + level), shape.intrinsics)


def _chosen(model: PartModel, versions: list[Parts], asked: Asked) -> list[Parts]:
    """Of every shape's versions the first in one piece."""
    groups = (versions[i : i + asked.tries] for i in range(0, len(versions), asked.tries))
    return [best_connected(model.network, group) for group in groups]


@contextmanager
def _opened(asked: Asked, progress: Progress | None) -> Iterator[tuple[PartModel, Progress]]:
    """The models, loaded, under reproducible settings and without gradients, and who shows what goes on."""
    with progress or Progress(quiet=True) as shown, reproducible("auto"), torch.no_grad():
        with shown.spinner("loading the part models"):
            model = load_part_model(asked.model)
        yield model, shown


@contextmanager
def _sampling(asked: Asked, progress: Progress) -> Iterator[Callable[[int, int], None]]:
    with progress.steps(2 * asked.steps, first="sampling"):
        yield lambda done, total: progress.update(done, {})
