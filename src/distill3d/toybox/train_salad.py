"""Train SALAD on the toybox's part Gaussians: `distill3d toybox train-salad`. Seeded and resumable.

The shapes' parts are read off by the trained part network once, then each phase learns the noise in them (Koo et al.
2023), told by a sentence that says some of the attributes; one sentence in five is left out for classifier-free
guidance.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from distill3d.core.errors import UserError
from distill3d.diffusion.training import denoising_loss
from distill3d.parts.model import TOYBOX, load_network, save_phase
from distill3d.parts.network import PartNetwork
from distill3d.parts.salad import Salad, SaladSizes, salad_schedule
from distill3d.parts.words import words_of
from distill3d.toybox.shapes.attributes import KINDS, AttributedShape, sample_shape
from distill3d.toybox.shapes.captions import random_caption, vocabulary
from distill3d.toybox.shapes.samples import batch_of
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


def shape_of(seed: int, index: int) -> AttributedShape:
    """Shape `index` of the set `seed`."""
    return sample_shape(np.random.default_rng((seed, index, 5)))


def read_parts(network: PartNetwork, seed: int, count: int) -> tuple[Tensor, Tensor]:
    """Extrinsics [K, P, 16] and intrinsics [K, P, d] of the first `count` shapes of the set `seed`."""
    extrinsics, intrinsics = [], []
    for first in range(0, count, 64):
        shapes = [shape_of(seed, i) for i in range(first, min(first + 64, count))]
        batch = batch_of(shapes, np.random.default_rng(0), points=4, inside=1)
        with torch.no_grad():
            inner, gaussians = network.parts_of(batch.coarse)
        extrinsics.append(gaussians.vectors())
        intrinsics.append(inner)
    return torch.cat(extrinsics), torch.cat(intrinsics)


class SaladTrainer:
    """One phase: its denoiser, the running average, the optimiser and the step.

    Args:
        phase: "extrinsics", "intrinsics" (given clean Gaussians), or "both" at once for the single-phase ablation.
    """

    def __init__(self, phase: str, extrinsics: Tensor, intrinsics: Tensor, settings: SaladSettings) -> None:
        torch.manual_seed(settings.seed)
        self.phase, self.settings = phase, settings
        sizes = SaladSizes(intrinsics=intrinsics.shape[-1])
        self.salad, self.average = (Salad(sizes, vocabulary(), phase == "both") for _ in range(2))
        self.salad.scales.measure(extrinsics, intrinsics)
        self.average.load_state_dict(self.salad.state_dict())
        scales = self.salad.scales
        self.data = scales.normalised("extrinsics", extrinsics), scales.normalised("intrinsics", intrinsics)
        self.shapes = [shape_of(settings.seed, i) for i in range(len(extrinsics))]
        self.denoiser, self.averaged = getattr(self.salad, phase), getattr(self.average, phase)
        self.optimizer = torch.optim.AdamW(
            self.denoiser.parameters(), settings.lr, (0.9, 0.98), weight_decay=settings.weight_decay, fused=True
        )
        self.schedule = salad_schedule()
        self.step, self.seconds = 0, 0.0

    def examples(self, rng: np.random.Generator) -> tuple[Tensor, list[list[str]], Tensor | None]:
        """A batch of x_0 [B, P, C], sentences, and what is given."""
        settings = self.settings
        chosen = rng.integers(len(self.data[0]), size=settings.batch)
        sentences = []
        for index in chosen:
            said = random_caption(rng, self.shapes[index])
            sentences.append([] if rng.random() < settings.drop_text else words_of(said))
        extrinsics, intrinsics = (values[torch.from_numpy(chosen)] for values in self.data)
        if self.phase == "both":
            return torch.cat([extrinsics, intrinsics], -1), sentences, None
        if self.phase == "extrinsics":
            return extrinsics, sentences, None
        return intrinsics, sentences, extrinsics

    def advance(self) -> Tensor:
        """One step; the loss of each example, [B]."""
        settings = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = settings.lr * falling_rate(self.step, settings.steps, settings.warmup, settings.decay_from)
        x0, sentences, given = self.examples(np.random.default_rng((settings.seed, self.step, 6)))
        losses, _ = denoising_loss(
            self.schedule,
            lambda x_t, t, said: self.denoiser(x_t, t, said, given),
            x0,
            sentences,
            generator=torch.Generator().manual_seed(settings.seed * 1_000_003 + self.step),
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
        torch.set_num_threads(args.threads)
    out = args.out or Path(f"outputs/toybox-salad-{args.phase}")
    settings = SaladSettings(args.shapes, args.examples, args.batch, args.lr, seed=args.seed)
    extrinsics, intrinsics = _parts(load_network(args.parts), settings, out)
    trainer = SaladTrainer(args.phase, extrinsics, intrinsics, settings)
    if args.resume and (out / FILE).is_file():
        trainer.load(out)
    log_row(out, {"phase": args.phase, "settings": asdict(settings), "kinds": list(KINDS), "resumed_at": trainer.step})
    train_salad(trainer, out, args.save_minutes)
    if args.into is not None:
        save_phase(trainer.average, args.phase, args.into)


def _parts(network: PartNetwork, settings: SaladSettings, folder: Path) -> tuple[Tensor, Tensor]:
    """The set's parts, read off once and kept in FOLDER/parts.safetensors."""
    path = folder / "parts.safetensors"
    if path.is_file():
        kept = load_file(path)
        if len(kept["extrinsics"]) == settings.shapes:
            return kept["extrinsics"], kept["intrinsics"]
    print(f"reading the parts of {settings.shapes} shapes", flush=True)
    extrinsics, intrinsics = read_parts(network, settings.seed, settings.shapes)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"extrinsics": extrinsics.contiguous(), "intrinsics": intrinsics.contiguous()}, path)
    return extrinsics, intrinsics


if __name__ == "__main__":
    main()
