"""Train SALAD on the toybox's part Gaussians: `distill3d toybox train-salad`. Seeded and resumable.

The shapes' parts are read off by the trained part network once, then each phase learns the noise in them (Koo et al.
2023), told by a sentence that says some of the attributes; one sentence in five is left out for classifier-free
guidance. In half of the examples some parts are known (`shapes/part_examples.py`).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from distill3d.core.errors import UserError
from distill3d.core.threads import use_threads
from distill3d.diffusion.training import denoising_loss
from distill3d.parts.model import TOYBOX, load_part_model, save_phase
from distill3d.parts.salad import Salad, SaladSizes, Scales, salad_schedule
from distill3d.parts.words import words_of
from distill3d.toybox.shapes.attributes import KINDS, Attributes
from distill3d.toybox.shapes.captions import caption, random_caption, vocabulary
from distill3d.toybox.shapes.part_examples import PartExamples, stacked
from distill3d.toybox.shapes.part_sets import PartSets, pair_of, read_sets
from distill3d.toybox.training_state import FILE, falling_rate, load_state, log_row, save_state

PHASES = ("extrinsics", "intrinsics", "both")


@dataclass(frozen=True)
class SaladSettings:
    """`examples` is the budget that the learning rate falls over."""

    shapes: int = 16_000  # of the set that is learned
    examples: int = 300_000
    batch: int = 64
    lr: float = 1e-3
    warmup: int = 200  # steps
    decay_from: float = 0.3
    weight_decay: float = 0.01
    ema: float = 0.999  # a step
    drop_text: float = 0.2  # as published
    seed: int = 70

    @property
    def steps(self) -> int:
        return self.examples // self.batch


class SaladTrainer:
    """One phase: its denoiser, the running average, the optimiser and the step.

    Args:
        phase: "extrinsics", "intrinsics" (given clean Gaussians), or "both" at once for the single-phase ablation.
    """

    def __init__(self, phase: str, sets: PartSets, settings: SaladSettings) -> None:
        torch.manual_seed(settings.seed)
        self.phase, self.settings = phase, settings
        sizes = SaladSizes(intrinsics=sets.intrinsics.shape[-1])
        self.salad, self.average = (Salad(sizes, vocabulary(), phase == "both") for _ in range(2))
        self.salad.scales.measure(sets.extrinsics, sets.intrinsics)
        self.average.load_state_dict(self.salad.state_dict())
        self.data = PartExamples(_normalised(self.salad.scales, sets), sets.extrinsics, sets.twin_extrinsics)
        self.pairs = [pair_of(settings.seed, i) for i in range(len(sets))]
        self.denoiser, self.averaged = getattr(self.salad, phase), getattr(self.average, phase)
        self.optimizer = torch.optim.AdamW(
            self.denoiser.parameters(), settings.lr, (0.9, 0.98), weight_decay=settings.weight_decay, fused=True
        )
        self.schedule = salad_schedule()
        self.step, self.seconds = 0, 0.0

    def start(self, folder: str) -> None:
        """Go on from the weights of part models in a folder.

        Raises:
            UserError: it holds no such phase, or one of other sizes.
        """
        begun = load_part_model(folder, single=self.phase == "both").generator()
        if begun.sizes != self.salad.sizes or begun.vocabulary != self.salad.vocabulary:
            raise UserError(f"{folder}: its SALAD has other sizes or words")
        for salad in (self.salad, self.average):
            getattr(salad, self.phase).load_state_dict(getattr(begun, self.phase).state_dict())

    def examples(self, rng: np.random.Generator) -> tuple[Tensor, list[list[str]], Tensor | None, Tensor, Tensor]:
        """A batch of x_0 [B, P, C], sentences, what is given, which parts are known and which are there [B, P]."""
        settings = self.settings
        examples, sentences = [], []
        for index in rng.integers(len(self.pairs), size=settings.batch):
            example = self.data.draw(rng, int(index))
            shape, twin, attribute = self.pairs[index]
            if example.twin:  # what is new has to be said
                said = caption(twin.kind, {attribute: twin.attributes[attribute]} | _some(rng, twin.attributes))
            else:
                said = random_caption(rng, shape)
            sentences.append([] if rng.random() < settings.drop_text else words_of(said))
            examples.append(example)
        extrinsics, intrinsics, known, there = stacked(examples)
        if self.phase == "both":
            return torch.cat([extrinsics, intrinsics], -1), sentences, None, known, there
        if self.phase == "extrinsics":
            return extrinsics, sentences, None, known, there
        return intrinsics, sentences, extrinsics, known, there

    def advance(self) -> Tensor:
        """One step; the loss of each example, [B]."""
        settings = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = settings.lr * falling_rate(self.step, settings.steps, settings.warmup, settings.decay_from)
        x0, sentences, given, known, there = self.examples(np.random.default_rng((settings.seed, self.step, 6)))
        losses, _ = denoising_loss(
            self.schedule,
            lambda x_t, t, said: self.denoiser(torch.where(known[..., None], x0, x_t), t, said, given, known, there),
            x0,
            sentences,
            generator=torch.Generator().manual_seed(settings.seed * 1_000_003 + self.step),
            counted=(there & ~known)[..., None],
        )
        self.optimizer.zero_grad(set_to_none=True)
        losses.mean().backward()
        nn.utils.clip_grad_norm_(self.denoiser.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        keep = min(settings.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.averaged.parameters()), list(self.denoiser.parameters()), 1 - keep)
        return losses.detach()

    def networks(self) -> dict[str, nn.Module]:
        return {"salad": self.salad, "average": self.average}

    def save(self, folder: Path) -> None:
        """Everything that resuming needs; then the phase's running average in FOLDER/model."""
        save_state(folder, self.networks(), self.optimizer, {"step": self.step, "seconds": self.seconds})
        save_phase(self.average, self.phase, folder / "model")

    def load(self, folder: Path) -> None:
        """Go on from the last `save`."""
        numbers = load_state(folder, self.networks(), self.optimizer)
        self.step, self.seconds = int(numbers["step"]), numbers["seconds"]


def train_salad(trainer: SaladTrainer, folder: Path, save_minutes: float) -> None:
    """Train until `settings.examples` have been seen; log to FOLDER/log.jsonl, save every `save_minutes`."""
    settings, stop = trainer.settings, trainer.settings.steps
    started, saved = time.monotonic() - trainer.seconds, time.monotonic()
    total, count = 0.0, 0
    while trainer.step < stop:
        total += float(trainer.advance().mean())
        count += 1
        trainer.seconds = time.monotonic() - started
        if trainer.step % 200 == 0 or trainer.step == stop:
            seen = trainer.step * settings.batch
            log_row(folder, {"examples": seen, "loss": round(total / count, 5), "seconds": round(trainer.seconds)})
            left = trainer.seconds / trainer.step * (stop - trainer.step) / 60
            print(
                f"{seen:>8} of {settings.examples} examples  loss {total / count:.4f}  {left:.0f} min left", flush=True
            )
            total, count = 0.0, 0
        if time.monotonic() - saved > 60 * save_minutes or trainer.step == stop:
            trainer.save(folder)
            saved = time.monotonic()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("distill3d toybox train-salad", description=__doc__)
    own = SaladSettings()
    parser.add_argument("phase", choices=PHASES, help="what to learn; both is the single-phase ablation")
    parser.add_argument("--parts", default=TOYBOX, help="folder of a part network (default: the embedded one)")
    parser.add_argument("--out", type=Path, help="folder for the training (default outputs/toybox-salad-PHASE)")
    parser.add_argument("--start", help="folder of part models whose phase to go on from; toybox is the embedded one")
    parser.add_argument("--into", type=Path, help="folder of part models to put the finished phase into, too")
    parser.add_argument("--shapes", type=int, default=own.shapes, help="of the set that is learned")
    parser.add_argument("--examples", type=int, default=own.examples, help="to learn from, drawn from the set")
    parser.add_argument("--batch", type=int, default=own.batch)
    parser.add_argument("--lr", type=float, default=own.lr)
    parser.add_argument("--seed", type=int, default=own.seed)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 is its own choice")
    parser.add_argument("--save-minutes", type=float, default=4.0)
    parser.add_argument("--resume", action="store_true", help="go on from the last state in --out")
    args = parser.parse_args(argv)
    if args.examples < args.batch or args.shapes < 2:
        raise UserError(f"--examples is at least a batch of {args.batch}, --shapes at least 2")
    if args.threads:
        use_threads(args.threads)
    out = args.out or Path(f"outputs/toybox-salad-{args.phase}")
    settings = SaladSettings(args.shapes, args.examples, args.batch, args.lr, seed=args.seed)
    trainer = SaladTrainer(args.phase, _sets(args.parts, settings, out), settings)
    if args.start is not None:
        trainer.start(args.start)
    if args.resume and (out / FILE).is_file():
        trainer.load(out)
    log_row(out, {"phase": args.phase, "settings": asdict(settings), "kinds": list(KINDS), "resumed_at": trainer.step})
    train_salad(trainer, out, args.save_minutes)
    if args.into is not None:
        save_phase(trainer.average, args.phase, args.into)


def _sets(parts: str, settings: SaladSettings, folder: Path) -> PartSets:
    """The set's parts, read off once and kept in FOLDER/sets.safetensors."""
    path = folder / "sets.safetensors"
    if path.is_file():
        kept = PartSets.load(path)
        if len(kept) == settings.shapes:
            return kept
    model = load_part_model(parts)
    if model.namer is None:
        raise UserError(f"{parts} has no words for its parts, which edits are learned by: train-part-names first")

    def said(done: int, total: int) -> None:
        if done % 1024 == 0 or done == total:
            print(f"{done} of {total} shapes are read as parts", flush=True)

    sets = read_sets(model.network, model.namer, settings.seed, settings.shapes, said)
    sets.save(path)
    return sets


def _normalised(scales: Scales, sets: PartSets) -> PartSets:
    return replace(
        sets,
        extrinsics=scales.normalised("extrinsics", sets.extrinsics),
        intrinsics=scales.normalised("intrinsics", sets.intrinsics),
        twin_extrinsics=scales.normalised("extrinsics", sets.twin_extrinsics),
        twin_intrinsics=scales.normalised("intrinsics", sets.twin_intrinsics),
    )


def _some(rng: np.random.Generator, attributes: Attributes) -> Attributes:
    """None, some or all of the attributes."""
    names = list(attributes)
    chosen = rng.permutation(len(names))[: int(rng.integers(len(names) + 1))]
    return {names[i]: attributes[names[i]] for i in chosen}


if __name__ == "__main__":
    main()
