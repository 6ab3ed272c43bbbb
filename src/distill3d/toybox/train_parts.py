"""Train the part Gaussians of the toybox: `distill3d toybox train-parts`. Seeded and resumable.

SPAGHETTI (Hertz et al. 2022) on an endless stream of attributed shapes, without a label of a part: the mixture's
likelihood of points inside, the occupancy of points by the surface, small latents, and parts that take what they hold
with them when they are moved.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from distill3d.core.errors import UserError
from distill3d.core.threads import use_threads
from distill3d.parts.losses import disentanglement_loss, mixture_loss, occupancy_loss
from distill3d.parts.model import save_network
from distill3d.parts.network import PartNetwork, PartSizes
from distill3d.toybox.shapes.samples import shape_batch
from distill3d.toybox.training_state import FILE, falling_rate, load_state, log_row, save_state


@dataclass(frozen=True)
class PartSettings:
    """`shapes` is the budget that the learning rate falls over."""

    shapes: int = 120_000
    batch: int = 16
    points: int = 768  # a shape, told inside or out
    inside: int = 384  # a shape, for the mixture
    lr: float = 1.5e-3
    warmup: int = 100  # steps
    decay_from: float = 0.3
    weight_decay: float = 0.01
    ema: float = 0.998  # a step
    mixture: float = 0.5
    latent: float = 1e-4
    gaussians_first: int = 1500  # steps in which only the mixture is learned, four times as quick as the others
    moves: float = 0.3  # weight of the disentanglement loss
    moves_share: float = 0.25  # of the batch
    seed: int = 60

    @property
    def steps(self) -> int:
        return self.shapes // self.batch


class PartTrainer:
    """Network, its running average, the optimiser and the step."""

    def __init__(self, sizes: PartSizes, settings: PartSettings) -> None:
        torch.manual_seed(settings.seed)
        self.sizes, self.settings = sizes, settings
        self.network, self.average = PartNetwork(sizes), PartNetwork(sizes)
        self.average.load_state_dict(self.network.state_dict())
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), settings.lr, (0.9, 0.98), weight_decay=settings.weight_decay, fused=True
        )
        self.step, self.seconds = 0, 0.0

    def advance(self) -> dict[str, Tensor]:
        """One step; the losses, unweighted, and the share of points told right."""
        settings, network = self.settings, self.network
        for group in self.optimizer.param_groups:
            group["lr"] = settings.lr * falling_rate(self.step, settings.steps, settings.warmup, settings.decay_from)
        batch = shape_batch(settings.seed, self.step, settings.batch, settings.points, settings.inside)
        z = network.encoder(batch.coarse)
        intrinsics, gaussians = network.decomposition(z)
        losses = {"mixture": mixture_loss(gaussians, batch.inside), "latent": z.square().mean()}
        right = {}
        if self.step >= settings.gaussians_first:
            logits = network.logits(intrinsics, gaussians, batch.points)
            losses["occupancy"] = occupancy_loss(logits, batch.filled)
            right["right"] = ((logits > 0) == batch.filled).float().mean()
            some = slice(0, max(1, round(settings.moves_share * settings.batch)))
            seed = settings.seed * 1_000_003 + self.step
            losses["moves"] = disentanglement_loss(
                network, intrinsics[some], gaussians[some], batch.fine[some], batch.points[some], seed
            )
        weights = {"mixture": settings.mixture, "latent": settings.latent, "moves": settings.moves}
        total = sum((weights.get(name, 1.0) * loss for name, loss in losses.items()), torch.zeros(()))
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        keep = min(settings.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(network.parameters()), 1 - keep)
        return {name: loss.detach() for name, loss in losses.items()} | right

    def networks(self) -> dict[str, nn.Module]:
        return {"network": self.network, "average": self.average}

    def save(self, folder: Path) -> None:
        """Everything that resuming needs; then the running average in FOLDER/model."""
        save_state(folder, self.networks(), self.optimizer, {"step": self.step, "seconds": self.seconds})
        save_network(self.average, folder / "model")

    def load(self, folder: Path) -> None:
        """Go on from the last `save`."""
        numbers = load_state(folder, self.networks(), self.optimizer)
        self.step, self.seconds = int(numbers["step"]), numbers["seconds"]


def train_parts(trainer: PartTrainer, folder: Path, save_minutes: float) -> None:
    """Train until `settings.shapes` have been seen; log to FOLDER/log.jsonl, save every `save_minutes`."""
    settings, stop = trainer.settings, trainer.settings.steps
    started, saved = time.monotonic() - trainer.seconds, time.monotonic()
    sums: dict[str, list[float]] = {}
    while trainer.step < stop:
        for name, value in trainer.advance().items():
            sums.setdefault(name, []).append(float(value))
        trainer.seconds = time.monotonic() - started
        if trainer.step % 100 == 0 or trainer.step == stop:
            means = {name: round(sum(values) / len(values), 4) for name, values in sums.items()}
            seen = trainer.step * settings.batch
            log_row(folder, {"shapes": seen, **means, "seconds": round(trainer.seconds)})
            left = trainer.seconds / trainer.step * (stop - trainer.step) / 60
            print(f"{seen:>8} of {settings.shapes} shapes  {means}  {left:.0f} min left", flush=True)
            sums = {}
        if time.monotonic() - saved > 60 * save_minutes or trainer.step == stop:
            trainer.save(folder)
            saved = time.monotonic()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("distill3d toybox train-parts", description=__doc__)
    own = PartSettings()
    parser.add_argument("--out", type=Path, default=Path("outputs/toybox-parts"), help="folder for the training")
    parser.add_argument("--shapes", type=int, default=own.shapes, help="to learn from")
    parser.add_argument("--batch", type=int, default=own.batch)
    parser.add_argument("--lr", type=float, default=own.lr)
    parser.add_argument("--seed", type=int, default=own.seed)
    parser.add_argument("--gaussians-first", type=int, default=own.gaussians_first, help="steps of the mixture alone")
    parser.add_argument("--start", type=Path, help="folder of another training, whose averaged network to begin with")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 is its own choice")
    parser.add_argument("--save-minutes", type=float, default=4.0)
    parser.add_argument("--resume", action="store_true", help="go on from the last state in --out")
    args = parser.parse_args(argv)
    if args.shapes < args.batch:
        raise UserError(f"--shapes is at least a batch of {args.batch} (got {args.shapes})")
    if args.threads:
        use_threads(args.threads)
    settings = PartSettings(
        shapes=args.shapes, batch=args.batch, lr=args.lr, gaussians_first=args.gaussians_first, seed=args.seed
    )
    trainer = PartTrainer(PartSizes(), settings)
    if args.start is not None:
        load_state(args.start, {"average": trainer.network})
        trainer.average.load_state_dict(trainer.network.state_dict())
    if args.resume and (args.out / FILE).is_file():
        trainer.load(args.out)
    log_row(args.out, {"sizes": asdict(trainer.sizes), "settings": asdict(settings), "resumed_at": trainer.step})
    train_parts(trainer, args.out, args.save_minutes)


if __name__ == "__main__":
    main()
