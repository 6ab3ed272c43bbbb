"""Train the classifier of noisy pictures: `python -m distill3d.toybox.train_noisy_judge`. Seeded."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.diffusion.classifier_guidance import noisy_classifier_loss
from distill3d.diffusion.patches import PatchCodec
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.toybox.model import Shape, make_scheduler
from distill3d.toybox.noisy_judge import NoisyJudge
from distill3d.toybox.train_judge import Labelled, draw

SEED, FRESH = 6_000_000, 7_500_000  # of the pictures it learns from and is tested on; the judge has others
LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)  # shares of the schedule


def encoded(seen: Labelled, rows: Tensor) -> Tensor:
    """Some of the pictures in the prior's space, [B, 64, 16, 16]."""
    raw = torch.from_numpy(seen.pictures[rows.numpy()]).float() / 255
    return PatchCodec(Shape().patch, 4, 0.5).encode(raw).contiguous(memory_format=torch.channels_last)


def pair_labels(judge: NoisyJudge, seen: Labelled) -> Tensor:
    """[N], the pictures' classes of `NoisyJudge.pairs`."""
    return torch.from_numpy(seen.category * len(judge.colors) + seen.color)


def train(
    judge: NoisyJudge, seen: Labelled, epochs: int, batch: int = 32, lr: float = 2e-3, seed: int = 0
) -> NoisyJudge:
    """One cycle of AdamW over `epochs` passes; noise and times are drawn afresh in each."""
    generator = torch.Generator().manual_seed(seed)
    schedule = NoiseSchedule.from_config(make_scheduler().config)
    judge.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    steps, labels = epochs * (len(seen) // batch), pair_labels(judge, seen)
    optimizer = torch.optim.AdamW(judge.parameters(), lr, weight_decay=0.02)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.15)
    step, started, mean = 0, time.monotonic(), 0.0
    for _ in range(epochs):
        order = torch.randperm(len(seen), generator=generator)
        for rows in order[: len(seen) // batch * batch].split(batch):
            error = noisy_classifier_loss(schedule, judge.pairs, encoded(seen, rows), labels[rows], generator).mean()
            optimizer.zero_grad(set_to_none=True)
            error.backward()
            optimizer.step()
            cycle.step()
            step += 1
            mean += (error.item() - mean) * max(0.02, 1 / step)
            if step % 200 == 0 or step == steps:
                speed = step * batch / (time.monotonic() - started)
                print(f"step {step} of {steps}  loss {mean:.3f}  {speed:.0f} pictures/s", flush=True)
    return judge.eval().requires_grad_(False)


@torch.no_grad()
def report(judge: NoisyJudge, fresh: Labelled, seed: int = 0) -> dict[str, dict[str, float]]:
    """Shares of pictures whose category, and whose colour, is told right, by noise level."""
    schedule, x0 = NoiseSchedule.from_config(make_scheduler().config), encoded(fresh, torch.arange(len(fresh)))
    generator, table = torch.Generator().manual_seed(seed), {}
    for level in LEVELS:
        t = torch.full((len(fresh),), schedule.fraction(level))
        x_t = schedule.add_noise(x0, torch.randn(x0.shape, generator=generator), t)
        pairs = (judge(x, s) for x, s in zip(x_t.split(128), t.split(128), strict=True))
        category, color = (torch.cat(column).argmax(1).numpy() for column in zip(*pairs, strict=True))
        table[str(level)] = {
            "category": round(float((category == fresh.category).mean()), 4),
            "color": round(float((color == fresh.color).mean()), 4),
        }
    return table


def save(judge: NoisyJudge, folder: Path, made: dict) -> None:
    """Weights in half precision, and what they are."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.detach().half().contiguous() for k, v in judge.state_dict().items()}
    save_file(tensors, folder / "noisy_judge.safetensors")
    named = {"widths": judge.widths, "categories": judge.categories, "colors": judge.colors}
    (folder / "config.json").write_text(json.dumps({**named, **made}, indent=1) + "\n")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("train_noisy_judge", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("outputs/noisy-judge"), help="folder for the weights")
    parser.add_argument("--pictures", type=int, default=12_800)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    if args.pictures < 32 or args.epochs < 1:
        raise UserError("the classifier needs --pictures of 32 at least, and --epochs of 1")
    torch.manual_seed(args.seed)
    judge = train(NoisyJudge(), draw(args.pictures, SEED), args.epochs, lr=args.lr, seed=args.seed)
    found = report(judge, draw(1280, FRESH))
    made = {"pictures": args.pictures, "epochs": args.epochs, "seed": args.seed, "fresh_toys_by_noise_level": found}
    save(judge, args.out, made)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
