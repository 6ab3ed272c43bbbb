"""Train the judge of pictures: `python -m distill3d.toybox.train_judge`. Seeded; pictures are kept between epochs."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.toybox.captions import parse
from distill3d.toybox.categories import CATEGORIES
from distill3d.toybox.dataset import make_batch
from distill3d.toybox.judge import SIZE, Judge
from distill3d.toybox.palette import COLORS
from distill3d.toybox.pictures import pack, picture
from distill3d.toybox.world import sample_toy

SEED = 5_000_000  # far from the seeds that the prior is trained and gated on
FRESH = 7_000_000  # seed of the pictures that the judge itself is judged on
PER_BATCH = 16  # pictures of one category that are drawn together


@dataclass(frozen=True)
class Labelled:
    """Pictures in memory and what they show."""

    pictures: np.ndarray  # [N, 64, 64, 4] uint8, colour over grey, and coverage
    category: np.ndarray  # [N] position in CATEGORIES
    color: np.ndarray  # [N] position in COLORS

    def __len__(self) -> int:
        return len(self.pictures)


def draw(count: int, seed: int = SEED, start: int = 0) -> Labelled:
    """`count` pictures as training of the prior draws them, all categories evenly, of every colour pair."""
    names = tuple(CATEGORIES)
    pictures, category, color = [], [], []
    for index in range(start, start + -(-count // PER_BATCH)):
        name = names[index % len(names)]
        batch = make_batch(seed, index, PER_BATCH, SIZE, split="all", category=name)
        pictures.append((255 * batch.pictures).round().byte().numpy())
        for caption in batch.captions:
            described = parse(caption)
            if described is None or described.item.color is None:
                raise ValueError(f"a caption without a colour: {caption!r}")
            color.append(COLORS.index(described.item.color))
        category += [names.index(name)] * PER_BATCH
    columns = (np.concatenate(pictures), np.array(category), np.array(color))
    return Labelled(*(column[:count] for column in columns))


def draw_plain(count: int, seed: int = FRESH, elevation: tuple[float, float] = (-10.0, 45.0)) -> Labelled:
    """Plain toys, fully lit, all categories evenly, from azimuths all around and elevations (degrees) in between."""
    rng = np.random.default_rng(seed)
    names = tuple(CATEGORIES)
    azimuth = torch.from_numpy(rng.uniform(-np.pi, np.pi, count)).float()
    height = torch.from_numpy(np.radians(rng.uniform(*elevation, count))).float()
    cameras = Cameras.orbit(azimuth, height, size=SIZE)
    poses, lenses = cameras.camera_to_world.double().numpy(), cameras.intrinsics.double().numpy()
    pictures, color = np.empty((count, SIZE, SIZE, 4), np.uint8), []
    category = np.arange(count) % len(names)
    for i in range(count):
        toy = sample_toy(rng, split="all", category=names[category[i]], material="plain")
        pictures[i] = _over_grey(picture(pack(toy), poses[i], lenses[i], SIZE, 1.0))
        color.append(COLORS.index(toy.color))
    return Labelled(pictures, category, np.array(color))


def _over_grey(premultiplied: np.ndarray) -> np.ndarray:
    rgba = premultiplied.copy()
    rgba[..., :3] += 0.5 * (1 - rgba[..., 3:])
    return np.round(255 * rgba).astype(np.uint8)


def roughened(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures [B, 4, H, W] in -1..1, each moved, blurred and grained as a generator's pictures may be."""
    count = len(pictures)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)

    dx, dy = torch.randint(-3, 4, (2,), generator=generator).tolist()  # one move for the whole batch
    moved = torch.roll(pictures, (dy, dx), (2, 3))  # toys keep clear of the border: nothing comes in again
    blurred = F.avg_pool2d(F.pad(moved, (1, 1, 1, 1), mode="replicate"), 3, 1)
    share = uniform(-0.7, 1.0).clamp(min=0)
    moved = torch.lerp(moved, blurred, share)
    gain = uniform(0.92, 1.05)
    moved[:, :3] *= gain
    grain = uniform(-0.06, 0.1).clamp(min=0)
    return moved + grain * torch.randn(moved.shape, generator=generator)


def loss(judge: Judge, pictures: Tensor, category: Tensor, color: Tensor) -> Tensor:
    """Cross entropy of category and of colour, summed."""
    by_category, by_color = judge(pictures)
    return F.cross_entropy(by_category, category) + F.cross_entropy(by_color, color)


def train(judge: Judge, seen: Labelled, epochs: int, batch: int = 32, lr: float = 3e-3, seed: int = 0) -> Judge:
    """One cycle of AdamW over `epochs` passes."""
    generator = torch.Generator().manual_seed(seed)
    judge.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    steps = epochs * (len(seen) // batch)
    optimizer = torch.optim.AdamW(judge.parameters(), lr, weight_decay=0.02)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.15)
    step, started, mean = 0, time.monotonic(), 0.0
    for _ in range(epochs):
        order = torch.randperm(len(seen), generator=generator)
        for rows in order[: len(seen) // batch * batch].split(batch):
            raw = torch.from_numpy(seen.pictures[rows.numpy()]).permute(0, 3, 1, 2).float() / 127.5 - 1
            labels = (torch.from_numpy(column[rows.numpy()]) for column in (seen.category, seen.color))
            error = loss(judge, roughened(raw, generator), *labels)
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


def report(judge: Judge, fresh: Labelled, worst: int = 12) -> dict:
    """How right the judge is: shares of category and colour, the weakest categories, the worst confusions."""
    told = judge.judge(torch.from_numpy(fresh.pictures).float() / 255)
    category, color = told.category.argmax(1).numpy(), told.color.argmax(1).numpy()
    names = tuple(CATEGORIES)
    counts: dict[str, int] = {}
    for true, read in zip(fresh.category, category, strict=True):
        if true != read:
            pair = f"{names[true]} taken for {names[read]}"
            counts[pair] = counts.get(pair, 0) + 1
    by_category = {
        name: round(float((category == fresh.category)[fresh.category == i].mean()), 3) for i, name in enumerate(names)
    }
    return {
        "pictures": len(fresh),
        "category": round(float((category == fresh.category).mean()), 4),
        "color": round(float((color == fresh.color).mean()), 4),
        "both": round(float(((category == fresh.category) & (color == fresh.color)).mean()), 4),
        "weakest": dict(sorted(by_category.items(), key=lambda item: item[1])[:worst]),
        "confusions": dict(sorted(counts.items(), key=lambda item: -item[1])[:worst]),
    }


def save(judge: Judge, folder: Path, made: dict) -> None:
    """Weights in half precision, and what they are."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.half() if v.is_floating_point() else v for k, v in judge.state_dict().items()}
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "judge.safetensors")
    named = {"widths": judge.widths, "categories": judge.categories, "colors": judge.colors}
    (folder / "config.json").write_text(json.dumps({**named, **made}, indent=1) + "\n")


def cached(file: Path, count: int) -> Labelled:
    """The pictures in `file`, drawn first where it does not exist."""
    if not file.exists():
        np.savez(file, **asdict(draw(count)))
    with np.load(file, allow_pickle=False) as kept:
        return Labelled(*(kept[name] for name in ("pictures", "category", "color")))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("train_judge", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("outputs/judge"), help="folder for the weights")
    parser.add_argument("--pictures", type=int, default=32_000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--widths", type=int, nargs=4, default=(16, 32, 64, 160))
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, metavar="FOLDER", help="start from this judge's weights")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    judge = Judge(tuple(args.widths)) if args.start is None else Judge.load(args.start).requires_grad_(True)
    train(judge, cached(args.out / "pictures.npz", args.pictures), args.epochs, lr=args.lr, seed=args.seed)
    found = report(judge, draw_plain(2560))
    made = {"pictures": args.pictures, "epochs": args.epochs, "seed": args.seed, "fresh_plain_toys": found}
    save(judge, args.out, made)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
