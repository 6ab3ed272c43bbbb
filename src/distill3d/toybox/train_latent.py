"""Train the miniature of Stable Diffusion from scratch: `distill3d toybox train-latent`. Seeded and resumable.

First the autoencoder (`train_autoencoder.py`), then, over its latents, the UNet and the text encoder, by the squared
error of the velocity. The caption is dropped in one picture of ten for classifier-free guidance. There is no camera
input: the captions say "front view", "side view", "back view" or "overhead view", as the prompts of score distillation
do, and in three of ten pictures say nothing of it.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from distill3d.core.errors import UserError
from distill3d.core.threads import use_threads
from distill3d.core.view_names import view_names, with_view
from distill3d.diffusion.aliases import TOYBOX
from distill3d.diffusion.folder import local
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.training import Times, denoising_loss
from distill3d.toybox.backdrops import before, random_backdrops
from distill3d.toybox.clip_tokenizer import make_clip_tokenizer
from distill3d.toybox.dataset import FREQUENT, make_batch
from distill3d.toybox.known_words import start_from_known_words
from distill3d.toybox.latent_model import (
    LatentShape,
    make_latent_scheduler,
    make_latent_unet,
    save_pipeline,
)
from distill3d.toybox.text_networks import make_text_encoder
from distill3d.toybox.train_autoencoder import AutoencoderSettings, train_autoencoder
from distill3d.toybox.training_state import FILE, falling_rate, load_state, log_row, save_state

BINS = 4  # of the log of the loss by timestep


@dataclass(frozen=True)
class LatentSettings:
    """`pictures` is the budget that the learning rate falls over."""

    pictures: int = 60_000
    batch: int = 8
    lr: float = 1e-3
    warmup: int = 100  # steps
    decay_from: float = 0.4
    weight_decay: float = 0.01
    ema: float = 0.995  # a step
    kinds: str = "all"  # or "frequent": the 29 of `dataset.FREQUENT` alone, one toy in each picture
    drop_text: float = 0.1
    drop_view: float = 0.3
    high_noise: float = 0.6  # t = T u^high_noise with u uniform: below 1 favours the noise levels that shape an object
    seed: int = 30

    @property
    def steps(self) -> int:
        return self.pictures // self.batch


def favouring_noise(schedule: NoiseSchedule, power: float) -> Times:
    """Times T u^power, u uniform."""

    def draw(count: int, generator: torch.Generator | None) -> Tensor:
        return (len(schedule) * torch.rand(count, generator=generator) ** power).long()

    return draw


def captioned_pictures(seed: int, index: int, count: int, size: int, settings: LatentSettings) -> tuple[Tensor, list]:
    """Batch `index` of a stream: pictures [B, 3, H, W] in -1..1 before plain walls, and what is said of them."""
    kinds = sorted(FREQUENT) if settings.kinds == "frequent" else ()
    batch = make_batch(seed, index, count, size, kinds=kinds)
    rng = np.random.default_rng((seed, index, 3))
    pictures = 2 * before(batch.pictures, random_backdrops(rng, count)).permute(0, 3, 1, 2) - 1
    captions = []
    for caption, name in zip(batch.captions, view_names(batch.cameras), strict=True):
        no_text, no_view = rng.random(2) < (settings.drop_text, settings.drop_view)
        captions.append("" if no_text else caption if no_view else with_view(caption, name))
    return pictures.contiguous(memory_format=torch.channels_last), captions


class TextUNet(nn.Module):
    """UNet and text encoder, which learn together."""

    def __init__(self, shape: LatentShape) -> None:
        super().__init__()
        self.tokenizer = make_clip_tokenizer(shape.tokens)
        words = self.tokenizer
        self.unet = make_latent_unet(shape)
        self.text = make_text_encoder(
            shape, len(words), pad=words.pad_token_id, begin=words.bos_token_id, end=words.eos_token_id
        )

    def forward(self, x_t: Tensor, t: Tensor, captions: list[str]) -> Tensor:
        """x_t [B, c, h, w], t [B] and captions to the velocity [B, c, h, w]."""
        length = self.tokenizer.model_max_length
        ids = self.tokenizer(captions, padding="max_length", truncation=True, max_length=length).input_ids
        words = self.text(torch.tensor(ids)).last_hidden_state
        return self.unet(x_t, t, encoder_hidden_states=words).sample


class LatentTrainer:
    """The state of the second stage: networks, their running average, the optimiser and the step.

    Args:
        vae: of the first stage. words: a prior whose text encoder to begin with, or None.
    """

    def __init__(self, vae: AutoencoderKL, shape: LatentShape, settings: LatentSettings, words: Path | None) -> None:
        torch.manual_seed(settings.seed)
        self.vae, self.shape, self.settings = vae, shape, settings
        self.network, self.average = TextUNet(shape), TextUNet(shape)
        if words is not None:
            start_from_known_words(self.network.text, self.network.tokenizer, words)
        for network in (self.network, self.average):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average.load_state_dict(self.network.state_dict())
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), settings.lr, (0.9, 0.98), weight_decay=settings.weight_decay, fused=True
        )
        self.schedule = NoiseSchedule.from_config(make_latent_scheduler().config)
        self.step, self.seconds = 0, 0.0

    def advance(self) -> tuple[Tensor, Tensor]:
        """One step of the optimiser and of the running average; each picture's loss and timestep, [B]."""
        settings = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = settings.lr * falling_rate(self.step, settings.steps, settings.warmup, settings.decay_from)
        pictures, captions = captioned_pictures(settings.seed, self.step, settings.batch, self.shape.size, settings)
        with torch.no_grad():
            latents = self.vae.encode(pictures).latent_dist.mean * self.vae.config.scaling_factor
        losses, t = denoising_loss(
            self.schedule,
            self.network,
            latents.contiguous(memory_format=torch.channels_last),
            captions,
            "velocity",
            "velocity",
            favouring_noise(self.schedule, settings.high_noise),
            torch.Generator().manual_seed(settings.seed * 1_000_003 + self.step),
        )
        self.optimizer.zero_grad(set_to_none=True)
        losses.mean().backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        keep = min(settings.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - keep)
        return losses.detach(), t

    def networks(self) -> dict[str, nn.Module]:
        return {"network": self.network, "average": self.average}

    def save(self, folder: Path) -> None:
        """Everything that resuming needs; then FOLDER/prior, which samples with the running average."""
        save_state(folder, self.networks(), self.optimizer, {"step": self.step, "seconds": self.seconds})
        averaged = {"unet": self.average.unet, "text_encoder": self.average.text, "tokenizer": self.average.tokenizer}
        save_pipeline(folder / "prior", {"vae": self.vae, **averaged})

    def load(self, folder: Path) -> None:
        """Go on from the last `save`."""
        numbers = load_state(folder, self.networks(), self.optimizer)
        self.step, self.seconds = int(numbers["step"]), numbers["seconds"]


def train_latent(trainer: LatentTrainer, folder: Path, save_minutes: float) -> None:
    """Train until `settings.pictures` have been seen; log to FOLDER/log.jsonl, save every `save_minutes`."""
    settings, stop = trainer.settings, trainer.settings.steps
    started, saved = time.monotonic() - trainer.seconds, time.monotonic()
    sums, counts = torch.zeros(BINS), torch.zeros(BINS)
    while trainer.step < stop:
        losses, t = trainer.advance()
        bins = t * BINS // len(trainer.schedule)
        sums.index_add_(0, bins, losses)
        counts.index_add_(0, bins, torch.ones(len(bins)))
        trainer.seconds = time.monotonic() - started
        if trainer.step % 100 == 0 or trainer.step == stop:
            loss, seen = float(sums.sum() / counts.sum()), trainer.step * settings.batch
            by_time = [round(float(v), 4) for v in sums / counts.clamp(min=1)]
            row = {"pictures": seen, "loss": round(loss, 5), "by_timestep": by_time, "seconds": round(trainer.seconds)}
            log_row(folder, row)
            pace = seen / trainer.seconds
            left = (settings.pictures - seen) / pace / 60
            print(
                f"{seen:>9} of {settings.pictures} pictures  loss {loss:.4f} {by_time}  "
                f"{pace:.0f} pictures/s  {left:.0f} min left",
                flush=True,
            )
            sums.zero_(), counts.zero_()
        if time.monotonic() - saved > 60 * save_minutes or trainer.step == stop:
            trainer.save(folder)
            saved = time.monotonic()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("distill3d toybox train-latent", description=__doc__)
    latent, codec = LatentSettings(), AutoencoderSettings()
    parser.add_argument("--out", type=Path, default=Path("outputs/toybox-latent"), help="folder for the training")
    parser.add_argument("--crops", type=int, default=codec.crops, help="on which the autoencoder learns first")
    parser.add_argument("--whole", type=int, default=codec.whole, help="whole pictures for the autoencoder, after that")
    parser.add_argument("--pictures", type=int, default=latent.pictures, help="for the UNet and the text encoder")
    parser.add_argument("--batch", type=int, default=latent.batch)
    parser.add_argument("--lr", type=float, default=latent.lr)
    parser.add_argument("--ema", type=float, default=latent.ema)
    parser.add_argument("--seed", type=int, default=latent.seed)
    parser.add_argument("--high-noise", type=float, default=latent.high_noise, help="below 1 favours high noise")
    parser.add_argument("--kinds", choices=("all", "frequent"), default=latent.kinds, help="of toys to learn")
    parser.add_argument("--fresh-words", action="store_true", help="do not begin with the embedded prior's words")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 is its own choice")
    parser.add_argument("--save-minutes", type=float, default=4.0)
    parser.add_argument("--resume", action="store_true", help="go on from the last state in --out")
    run(parser.parse_args(argv))


def run(args: argparse.Namespace) -> None:
    for name in ("crops", "whole", "pictures"):
        if getattr(args, name) < args.batch:
            raise UserError(f"--{name} is at least a batch of {args.batch} (got {getattr(args, name)})")
    if args.threads:
        use_threads(args.threads)
    shape, first = LatentShape(), args.out / "autoencoder"
    settings = LatentSettings(
        pictures=args.pictures,
        batch=args.batch,
        lr=args.lr,
        ema=args.ema,
        kinds=args.kinds,
        high_noise=args.high_noise,
        seed=args.seed,
    )
    begun = args.resume and (args.out / FILE).is_file()
    vae = train_autoencoder(first, shape, AutoencoderSettings(args.crops, args.whole), args.resume, args.save_minutes)
    words = None if args.fresh_words else local(TOYBOX)
    trainer = LatentTrainer(vae, shape, settings, words)
    if begun:
        trainer.load(args.out)
    log_row(args.out, {"shape": asdict(shape), "settings": asdict(settings), "resumed_at": trainer.step})
    train_latent(trainer, args.out, args.save_minutes)


if __name__ == "__main__":
    main()
