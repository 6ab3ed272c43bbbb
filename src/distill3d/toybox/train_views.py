"""Train the mean novel view: `distill3d toybox train-views`. Seeded and resumable.

A picture and a relative camera to the mean of all pictures that they fit, by plain regression: an encoder of the
picture and the decoder of `diffusion.canvas`. The picture is forgotten in one pair of ten and the camera in one of
twelve, so that there is something to move away from.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from huggingface_hub.utils import disable_progress_bars
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from distill3d.core.errors import UserError
from distill3d.diffusion.canvas import Canvas
from distill3d.diffusion.patches import PatchCodec
from distill3d.diffusion.picture_encoder import PictureEncoder
from distill3d.diffusion.relative_view import RELATIVE_SIZE, relative_vector
from distill3d.toybox.view_pairs import Toys, make_toys

SIZE, PATCH, WIDTH = 64, 4, 256
GATE_SEED, GATE_BATCHES = 20_000, 4  # of toys that training never draws
CASES = ("right", "wrong camera", "no camera", "wrong picture", "no picture")


@dataclass(frozen=True)
class Settings:
    """How long and how fast; `toys` is the budget that the learning rate falls over."""

    toys: int = 40_000
    batch: int = 8  # toys a step
    views: int = 4  # pictures of each, of which every one is turned into every other
    lr: float = 2e-3
    warmup: int = 100  # steps
    decay_from: float = 0.4  # share of the budget after which the learning rate falls linearly to 2 % of itself
    ema: float = 0.995
    drop_picture: float = 0.1
    drop_camera: float = 0.08
    seed: int = 0


def learning_rate(settings: Settings, step: int) -> float:
    """Warm up, hold, fall linearly."""
    share = step * settings.batch / settings.toys
    fall = 1 - 0.98 * max(0.0, share - settings.decay_from) / (1 - settings.decay_from)
    return settings.lr * min(1.0, (step + 1) / settings.warmup) * max(fall, 0.02)


class MeanView(nn.Module):
    """Encoder and canvas together: a picture and a relative camera to the mean novel view."""

    def __init__(self) -> None:
        super().__init__()
        side, channels = SIZE // PATCH, 4 * PATCH**2
        self.encoder = PictureEncoder(channels, side, width=WIDTH)
        self.canvas = Canvas(RELATIVE_SIZE + WIDTH, channels, side)

    def forward(self, seen: Tensor, relative: Tensor) -> Tensor:
        """Vectors of pictures [B, 256] and relative cameras [B, 14] to [B, c, h, w]; zeros stand for none."""
        return self.canvas(torch.cat([relative, seen], -1))


class Trainer:
    """The state of a training: the network, its running average, the optimiser and the step."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings
        torch.manual_seed(settings.seed)
        self.network, self.average = MeanView(), MeanView()
        self.average.load_state_dict(self.network.state_dict())
        self.average.requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), settings.lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True
        )
        self.codec = PatchCodec(PATCH, 4, 0.5)
        self.step, self.seconds = 0, 0.0

    def advance(self, toys: Toys) -> float:
        """One step on every ordered pair of views of each toy; returns the mean squared error."""
        settings = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(settings, self.step)
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + self.step)
        x = self.codec.encode(toys.pictures)
        seen = self.network.encoder(x)
        told, known, wanted = [], [], []
        for shift in range(1, toys.views):
            rows = toys.pairs(shift)
            keep = torch.rand(len(rows), 2, generator=generator)
            told.append(relative_vector(toys.cameras[rows], toys.cameras) * (keep[:, :1] >= settings.drop_camera))
            known.append(seen * (keep[:, 1:] >= settings.drop_picture))
            wanted.append(x[rows])
        loss = (self.network(torch.cat(known), torch.cat(told)) - torch.cat(wanted)).square().mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        keep_share = min(settings.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - keep_share)
        return float(loss.detach())

    @torch.no_grad()
    def gate(self) -> dict[str, float]:
        """The average's squared error on toys that training never draws, by what it is told: `CASES`."""
        sums = dict.fromkeys(CASES, 0.0)
        for index in range(GATE_BATCHES):
            toys = make_toys(GATE_SEED, index, 16, 4, SIZE)
            x, rows = self.codec.encode(toys.pictures), toys.pairs(1)
            seen = self.average.encoder(x)
            right, turned = (relative_vector(toys.cameras[r], toys.cameras) for r in (rows, toys.pairs(2)))
            other = seen.roll(toys.views, 0)  # the same view of the next toy
            nothing, nowhere = torch.zeros_like(seen), torch.zeros_like(right)
            told = ((seen, right), (seen, turned), (seen, nowhere), (other, right), (nothing, right))
            for name, (known, view) in zip(CASES, told, strict=True):
                sums[name] += float((self.average(known, view) - x[rows]).square().mean()) / GATE_BATCHES
        return sums

    def save(self) -> None:
        """Everything that resuming needs, under a temporary name first; then the average in half precision."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for i, p in enumerate(self.network.parameters()):
            tensors |= {f"optimizer.{i}.{name}": value for name, value in self.optimizer.state.get(p, {}).items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        meta = {"step": str(self.step), "seconds": f"{self.seconds:.1f}"}
        tensors = {k: v.detach().contiguous().clone() for k, v in tensors.items()}
        save_file(tensors, self.folder / "training.partial", metadata=meta)
        os.replace(self.folder / "training.partial", self.folder / "training.safetensors")
        state = {"settings": asdict(self.settings), **meta}
        (self.folder / "training.json").write_text(json.dumps(state, indent=2) + "\n")
        disable_progress_bars()  # of the hub's library, which shows one for each file
        half = MeanView().half()
        half.load_state_dict(self.average.state_dict())
        half.encoder.save_pretrained(self.folder / "mean_view" / "encoder")
        half.canvas.save_pretrained(self.folder / "mean_view" / "canvas")

    def load(self) -> None:
        """Go on from the last `save`.

        Raises:
            UserError: there is none in the folder.
        """
        path = self.folder / "training.safetensors"
        if not path.is_file():
            raise UserError(f"{path} is missing: there is no training to resume in {self.folder}")
        tensors = load_file(path)
        with safe_open(path, "pt") as file:
            meta = file.metadata()
        self.step, self.seconds = int(meta["step"]), float(meta["seconds"])
        for name, network in (("network", self.network), ("average", self.average)):
            network.load_state_dict(_below(tensors, f"{name}."))
        for i, p in enumerate(self.network.parameters()):
            self.optimizer.state[p] = _below(tensors, f"optimizer.{i}.")


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}


def train(folder: Path, settings: Settings, resume: bool = False, save_minutes: float = 3.0) -> Trainer:
    """Train until `settings.toys` have been seen; log to FOLDER/log.jsonl, save every `save_minutes`.

    Raises:
        UserError: there is nothing to resume.
    """
    trainer = Trainer(folder, settings)
    if resume:
        trainer.load()
    folder.mkdir(parents=True, exist_ok=True)
    stop = settings.toys // settings.batch
    started, saved = time.monotonic() - trainer.seconds, time.monotonic()
    errors: list[float] = []
    while trainer.step < stop:
        errors.append(trainer.advance(make_toys(settings.seed, trainer.step, settings.batch, settings.views, SIZE)))
        trainer.seconds = time.monotonic() - started
        if trainer.step == stop or time.monotonic() - saved > 60 * save_minutes:
            trainer.save()
            row = {"toys": trainer.step * settings.batch, "error": sum(errors) / len(errors), **trainer.gate()}
            row = {name: round(value, 5) for name, value in row.items()} | {"seconds": round(trainer.seconds)}
            with open(folder / "log.jsonl", "a") as file:
                file.write(json.dumps(row) + "\n")
            print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
            saved, errors = time.monotonic(), []
    return trainer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    defaults = Settings()
    parser.add_argument("--out", type=Path, default=Path("outputs/toybox-views"), help="folder for the training")
    parser.add_argument("--toys", type=int, default=defaults.toys, help="how many toys to train on")
    parser.add_argument("--batch", type=int, default=defaults.batch, help="toys a step")
    parser.add_argument("--lr", type=float, default=defaults.lr)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 is its own choice")
    parser.add_argument("--save-minutes", type=float, default=3.0)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --out")


def run(args: argparse.Namespace) -> None:
    if args.threads:
        torch.set_num_threads(args.threads)
    settings = Settings(toys=args.toys, batch=args.batch, lr=args.lr, seed=args.seed)
    train(args.out, settings, args.resume, args.save_minutes)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("distill3d toybox train-views", description=__doc__)
    add_arguments(parser)
    run(parser.parse_args(argv))


if __name__ == "__main__":
    main()
