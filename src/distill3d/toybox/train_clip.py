"""Train the embedded text-image encoder: `distill3d toybox train-clip`. Seeded and resumable, on a CPU or a GPU.

Pictures and captions are pulled together by a symmetric InfoNCE with a learnt temperature (Radford et al. 2021,
figure 3). Every toy is shown at a random place and size over a random backdrop, so that what is learnt holds for
renderings over any background. The colour and category pairs that are held out of the prior are held out here too.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from distill3d.core.errors import UserError
from distill3d.core.threads import use_threads
from distill3d.diffusion.backdrops import cut, over, random_backdrops, random_windows
from distill3d.diffusion.conv_clip import ConvClip, ConvClipShape
from distill3d.toybox.captions import VOCABULARY, Description, parse
from distill3d.toybox.clip_report import report
from distill3d.toybox.dataset import Batch, stream
from distill3d.toybox.model import END, PAD, UNKNOWN, make_tokenizer, tokenize
from distill3d.toybox.training_state import FILE, load_state, log_row, save_state

# A CLIP text encoder reads a text off at its end, and old ones find that end as the highest number: here it is both.
WORDS = (PAD, UNKNOWN, *VOCABULARY, END)
MOST_SCALE = math.log(100.0)  # of the logits, as in the paper
SEED = 8_000_000  # of the first picture: far from the prior's and the judge's
SCALE, MOVE = (0.85, 1.35), 0.15  # of the window that is cut of a picture
BARE = 0.15  # share of pictures over grey, as a renderer shows them by itself


@dataclass(frozen=True)
class ClipSettings:
    """How long and how fast; `pictures` is the budget that the learning rate falls over."""

    pictures: int = 220_000
    batch: int = 128
    lr: float = 3e-3
    warmup: int = 150  # steps
    weight_decay: float = 0.03
    ema: float = 0.995  # a step
    grain: float = 0.06  # most standard deviation of the noise on a picture
    seed: int = 0
    workers: int = 0


def clip_tokenizer(tokens: int) -> PreTrainedTokenizerFast:
    """The toybox's words; the end of a text is the highest number."""
    return make_tokenizer(tokens, WORDS)


def learning_rate(settings: ClipSettings, step: int) -> float:
    """Warm up, then half a cosine down to nothing."""
    share = min(1.0, step * settings.batch / settings.pictures)
    return settings.lr * min(1.0, (step + 1) / settings.warmup) * 0.5 * (1 + math.cos(math.pi * share))


def staged(batch: Batch, generator: torch.Generator, grain: float) -> Tensor:
    """The batch's toys moved, scaled, laid over random backdrops and grained: [B, 3, H, W] in -1..1."""
    straight = batch.pictures.permute(0, 3, 1, 2)
    count, size = len(straight), straight.shape[-1]
    alpha = straight[:, 3:]
    premultiplied = torch.cat([straight[:, :3] - 0.5 * (1 - alpha), alpha], 1)
    shown = cut(premultiplied, random_windows(count, generator, SCALE, MOVE), size)
    backdrop = random_backdrops(count, size, generator)
    bare = torch.rand(count, 1, 1, 1, generator=generator) < BARE
    pictures = over(shown[:, :3], shown[:, 3:], torch.where(bare, 0.5, backdrop))
    strength = grain * torch.rand(count, 1, 1, 1, generator=generator)
    return 2 * (pictures + strength * torch.randn(pictures.shape, generator=generator)).clamp(0, 1) - 1


def same_content(captions: list[str]) -> Tensor:
    """[B, B] bool: which captions describe the same, in whatever words."""
    described: list[Description | str] = [parse(c) or c for c in captions]
    numbers = {d: i for i, d in enumerate(dict.fromkeys(described))}
    row = torch.tensor([numbers[d] for d in described])
    return row[:, None] == row


def contrastive_loss(pictures: Tensor, texts: Tensor, log_scale: Tensor, same: Tensor) -> Tensor:
    """Symmetric InfoNCE (Radford et al. 2021, figure 3), in which all captions that describe a picture share its pull.

    Args:
        pictures, texts: unit vectors, [B, D] each. log_scale: scalar. same: see `same_content`.
    """
    logits = log_scale.exp() * pictures @ texts.T
    share = same.float() / same.sum(1, keepdim=True)
    return 0.5 * (F.cross_entropy(logits, share) + F.cross_entropy(logits.T, share))


class ClipTrainer:
    """The state of a training: the encoder, its running average, the optimiser and the step."""

    def __init__(self, folder: Path, shape: ConvClipShape, settings: ClipSettings, device: str) -> None:
        self.folder, self.shape, self.settings, self.device = folder, shape, settings, device
        torch.manual_seed(settings.seed)
        self.tokenizer = clip_tokenizer(shape.tokens)
        self.clip, self.average = ConvClip(shape), ConvClip(shape)
        for network in (self.clip, self.average):
            network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average.load_state_dict(self.clip.state_dict())
        groups = [
            {"params": [p for p in self.clip.parameters() if p.ndim >= 2], "weight_decay": settings.weight_decay},
            {"params": [p for p in self.clip.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, settings.lr, betas=(0.9, 0.98), fused=True)
        self.step, self.seconds = 0, 0.0

    def advance(self, batch: Batch) -> float:
        """One step of the optimiser and of the running average; returns the loss."""
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.settings, self.step)
        pictures = staged(batch, generator, self.settings.grain).to(self.device)
        tokens = tokenize(self.tokenizer, batch.captions).to(self.device)
        unit = F.normalize(self.clip.see(pictures), dim=1), F.normalize(self.clip.hear(tokens), dim=1)
        loss = contrastive_loss(*unit, self.clip.logit_scale, same_content(batch.captions).to(self.device))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.clip.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        keep = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            self.clip.logit_scale.clamp_(max=MOST_SCALE)
            torch._foreach_lerp_(_floats(self.average), _floats(self.clip), 1 - keep)
        return float(loss.detach())

    def save(self) -> None:
        """Everything that resuming needs, under a temporary name first; then the folder that is used."""
        numbers = {"step": self.step, "seconds": round(self.seconds, 1)}
        save_state(self.folder, self.networks(), self.optimizer, numbers)
        state = {"settings": asdict(self.settings), "shape": asdict(self.shape), **numbers}
        (self.folder / "training.json").write_text(json.dumps(state, indent=2) + "\n")
        self.average.save(self.folder / "clip")
        self.tokenizer.save_pretrained(self.folder / "clip")

    def load(self) -> None:
        """Go on from the last `save`.

        Raises:
            UserError: there is none, or one of another shape or with other settings.
        """
        if not (self.folder / FILE).is_file():
            raise UserError(f"{self.folder / FILE} is missing: there is no training to resume in {self.folder}")
        before = json.loads((self.folder / "training.json").read_text())
        asked = {"settings": asdict(self.settings), "shape": asdict(self.shape)}
        for part, values in asked.items():
            values = json.loads(json.dumps(values))  # tuples become lists
            other = {k for k, v in values.items() if before[part].get(k) != v} - {"workers"}
            if other:
                raise UserError(f"{self.folder} was trained with another {', '.join(sorted(other))}; see training.json")
        numbers = load_state(self.folder, self.networks(), self.optimizer)
        self.step, self.seconds = int(numbers["step"]), numbers["seconds"]

    def networks(self) -> dict[str, torch.nn.Module]:
        return {"clip": self.clip, "average": self.average}


def _floats(network: torch.nn.Module) -> list[Tensor]:
    """What is averaged: the parameters, and the statistics of the normalisation."""
    return [value for value in network.state_dict().values() if value.is_floating_point()]


def train(
    folder: Path,
    shape: ConvClipShape,
    settings: ClipSettings,
    device: str,
    resume: bool,
    save_minutes: float,
    judged: int = 1536,
) -> ClipTrainer:
    """Train until `settings.pictures` have been seen; log to FOLDER/log.jsonl, save every `save_minutes`.

    Args:
        judged: pictures of each split that the last report is on; a third of them for those before it.
    """
    if settings.pictures < settings.batch:
        raise UserError(f"--pictures {settings.pictures}: a step alone takes {settings.batch} (--batch)")
    trainer = ClipTrainer(folder, shape, settings, device)
    if resume:
        trainer.load()
    stop = settings.pictures // settings.batch
    begun, saved, last = time.monotonic() - trainer.seconds, time.monotonic(), time.monotonic()
    losses: list[float] = []
    seed = SEED + settings.seed
    for batch in stream(seed, trainer.step, stop, settings.batch, shape.size, settings.workers):
        losses.append(trainer.advance(batch))
        trainer.seconds = time.monotonic() - begun
        if trainer.step % 50 == 0 or trainer.step == stop:
            speed = len(losses) * settings.batch / (time.monotonic() - last)
            row = {
                "pictures": trainer.step * settings.batch,
                "loss": round(sum(losses) / len(losses), 4),
                "scale": round(float(trainer.clip.logit_scale.detach().exp()), 2),
                "pictures_per_second": round(speed, 1),
                "seconds": round(trainer.seconds),
            }
            log_row(folder, row)
            print("  ".join(f"{k} {v}" for k, v in row.items()), flush=True)
            losses, last = [], time.monotonic()
        if time.monotonic() - saved > 60 * save_minutes or trainer.step == stop:
            trainer.save()
            found = report(folder / "clip", count=judged if trainer.step == stop else judged // 3)
            log_row(folder, {"pictures": trainer.step * settings.batch, "report": found})
            print(json.dumps(found), flush=True)
            saved = last = time.monotonic()
    return trainer


def main(argv: list[str] | None = None) -> None:
    defaults, sizes = ClipSettings(), ConvClipShape()
    parser = argparse.ArgumentParser("distill3d toybox train-clip", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("outputs/toybox-clip"), help="folder for the training")
    parser.add_argument("--pictures", type=int, default=defaults.pictures, help="how many pictures to train on")
    parser.add_argument("--batch", type=int, default=defaults.batch)
    parser.add_argument("--lr", type=float, default=defaults.lr)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--workers", type=int, default=defaults.workers, help="processes that draw pictures")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 is its own choice")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--widths", type=int, nargs=4, default=sizes.widths, help="channels of the picture's tower")
    parser.add_argument("--save-minutes", type=float, default=5.0)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --out")
    args = parser.parse_args(argv)
    if args.threads:
        use_threads(args.threads)
    settings = ClipSettings(args.pictures, args.batch, args.lr, seed=args.seed, workers=args.workers)
    shape = replace(sizes, widths=tuple(args.widths), vocabulary=len(WORDS))
    train(args.out, shape, settings, args.device, args.resume, args.save_minutes)


if __name__ == "__main__":
    main()
