"""Train the embedded novel-view model, a miniature Zero-1-to-3: `distill3d toybox train-novel-view`. Resumable.

It begins as the embedded prior and learns, from pairs of pictures of one toy, what another camera sees (Liu et al.
2023, "Zero-1-to-3", section 3.2), by the loss that the prior was trained with. One thing differs from the paper: it
hears what the toy is and from which side of it either picture is taken. Who has a picture alone reads both off it,
with this same model (`diffusion.pose_search`). Learning to see them from scratch is what takes most of the pictures:
an eye of its own had not begun to tell front from back after 14,000 pairs, nor a model without one after 2,700.

Picture, text, and everything are dropped in a share of the pairs each.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.diffusion.aliases import TOYBOX
from distill3d.diffusion.folder import local
from distill3d.diffusion.patches import PatchCodec
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.view import view_vector
from distill3d.toybox.model import make_scheduler, tokenize
from distill3d.toybox.novel_view_model import Told, ViewDenoiser, begin, save_folder
from distill3d.toybox.training_loop import train_on
from distill3d.toybox.training_state import falling_rate, load_state, save_state
from distill3d.toybox.view_pairs import ViewPairs, make_view_pairs, view_pair_stream

_SEED = 61  # of the stream of pairs; the prior's own were 0 and 11, others' 21, 22 and 41
_HELD = 10_600  # seed of the pairs that training never sees


@dataclass(frozen=True)
class NovelViewSettings:
    """How long and how fast; `pictures` is the budget of pairs that the learning rate falls over."""

    pictures: int = 48_000
    batch: int = 16
    lr: float = 1e-3
    warmup: int = 50  # steps
    decay_from: float = 0.5  # share of the budget after which the learning rate falls linearly to 2 % of itself
    weight_decay: float = 0.01
    ema: float = 0.99  # a step
    drop_picture: float = 0.15  # and the camera that took it
    drop_text: float = 0.1
    drop_all: float = 0.07
    high_noise: float = 0.4  # t = T u^high_noise with u uniform, as for the prior
    least_variance: float = 0.1  # sigma^2 below which the weight of the loss, 1 / sigma^2, grows no more
    canvas_weight: float = 0.2  # of the squared error of the mean picture
    seed: int = 0
    workers: int = 0


class NovelViewTrainer:
    """The state of a training: the network, its running average, the optimiser and the step."""

    def __init__(self, folder: Path, settings: NovelViewSettings, device: str, model: str = TOYBOX) -> None:
        self.folder, self.settings, self.device = folder, settings, device
        start = local(model)
        if start is None:
            raise UserError(f"{model} is neither toybox nor a folder that `toybox train` made")
        self.shape, self.denoiser, self.tokenizer = begin(start)
        self.average = ViewDenoiser(self.shape, len(self.tokenizer))
        self.average.load_state_dict(self.denoiser.state_dict())
        self.average.requires_grad_(False)
        for network in (self.denoiser, self.average):
            network.to(device)
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            self.denoiser.parameters(), settings.lr, betas=(0.9, 0.98), weight_decay=settings.weight_decay, fused=True
        )
        self.schedule = NoiseSchedule.from_config(make_scheduler().config)
        self.codec = PatchCodec(self.shape.patch, 4, 0.5)
        self.step, self.seconds = 0, 0.0

    def told(self, batch: ViewPairs, captions: Sequence[str] | None = None, turned_by: float = 0.0) -> Told:
        """What the denoiser is told of a batch.

        Args:
            captions: instead of the batch's own. turned_by: degrees by which the asked-for azimuths are told wrong.
        """
        c = batch.cameras
        asked = Cameras.orbit(c.azimuth + math.radians(turned_by), c.elevation, c.distance, c.fov, c.height)
        return Told(
            tokenize(self.tokenizer, list(batch.captions if captions is None else captions)).to(self.device),
            view_vector(asked, batch.lights).to(self.device),
            view_vector(batch.references).to(self.device),
            self._encode(batch.given),
        )

    def errors(
        self, network: ViewDenoiser, batch: ViewPairs, told: Told, t: Tensor, noise: Tensor, weigh: bool = True
    ) -> Tensor:
        """Each pair's squared error of the picture that is asked for, [B].

        Args:
            weigh: over max(sigma^2, least_variance), so that it is the velocity's, and with the canvas's own.
        """
        x0 = self._encode(batch.asked)
        alpha, sigma = self.schedule.at(t, x0)
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.startswith("cuda")):
            clean, mean = network(alpha * x0 + sigma * noise.to(x0), t.to(self.device), told)
        error = (clean.float() - x0).square()
        if weigh:
            error = error / sigma.square().clamp(min=self.settings.least_variance)
            error = error + self.settings.canvas_weight * (mean.float() - x0).square()
        return error.flatten(1).mean(1)

    def loss(self, batch: ViewPairs) -> Tensor:
        """Each pair's loss, [B], at this step's times, noise and what is dropped."""
        settings, count = self.settings, len(batch.captions)
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + self.step)
        t = (len(self.schedule) * torch.rand(count, generator=generator) ** settings.high_noise).long()
        told = self.told(batch)
        noise = torch.randn(told.given.shape, generator=generator)
        told = dropped(told, torch.rand(count, generator=generator), self.nothing, settings)
        return self.errors(self.denoiser, batch, told, t, noise)

    @property
    def nothing(self) -> Tensor:
        """The tokens of an empty text, [L]."""
        return tokenize(self.tokenizer, [""])[0].to(self.device)

    def advance(self, batch: ViewPairs) -> Tensor:
        """One step of the optimiser and of the running average; returns the losses."""
        settings = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = novel_view_rate(settings, self.step)
        losses = self.loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        losses.mean().backward()
        torch.nn.utils.clip_grad_norm_(self.denoiser.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        keep = min(settings.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.denoiser.parameters()), 1 - keep)
        return losses.detach()

    @torch.no_grad()
    def gate(self, count: int = 48, share: float = 0.9) -> dict[str, float]:
        """The average's squared error of the picture that is asked for, at one noise level, on pairs that training
        never sees: told rightly, with the azimuth a quarter or half a turn wrong, with another toy's picture, without
        one, and without text; and that of the given picture itself."""
        batch = make_view_pairs(_HELD, 0, count, self.shape.size)
        noise = torch.randn(self._encode(batch.asked).shape, generator=torch.Generator().manual_seed(0))
        t = torch.full((count,), self.schedule.fraction(share), device=self.device)
        told = self.told(batch)
        turned = {f"azimuth + {turn}": self.told(batch, turned_by=turn) for turn in (90, 180)}
        ways = {
            "right": told,
            **turned,
            "other picture": replace(told, given=told.given.roll(1, 0)),
            "no picture": replace(told, given=0 * told.given, given_view=0 * told.given_view),
            "no text": self.told(batch, [""] * count),
        }
        errors = {
            name: float(self.errors(self.average, batch, way, t, noise, False).mean()) for name, way in ways.items()
        }
        errors["given"] = float((told.given - self._encode(batch.asked)).square().mean())
        return {name: round(error, 5) for name, error in errors.items()}

    def save(self) -> None:
        """Everything that resuming needs; then FOLDER/model, which samples with the running average."""
        numbers = {"step": self.step, "seconds": round(self.seconds, 1)}
        save_state(self.folder, self.networks(), self.optimizer, numbers)
        state = {"settings": asdict(self.settings), **numbers}
        (self.folder / "training.json").write_text(json.dumps(state, indent=2) + "\n")
        save_folder(self.folder / "model", self.shape, self.average, self.tokenizer)

    def load(self) -> None:
        """Go on from the last `save`.

        Raises:
            UserError: there is none.
        """
        numbers = load_state(self.folder, self.networks(), self.optimizer)
        self.step, self.seconds = int(numbers["step"]), numbers["seconds"]

    def networks(self) -> dict[str, torch.nn.Module]:
        return {"denoiser": self.denoiser, "average": self.average}

    def _encode(self, pictures: Tensor) -> Tensor:
        return self.codec.encode(pictures.to(self.device)).contiguous(memory_format=torch.channels_last)


def novel_view_rate(settings: NovelViewSettings, step: int) -> float:
    """The learning rate: warm up, hold, fall linearly."""
    return settings.lr * falling_rate(step, settings.pictures / settings.batch, settings.warmup, settings.decay_from)


def dropped(told: Told, chance: Tensor, nothing: Tensor, settings: NovelViewSettings) -> Told:
    """The same with picture, text or all of it left out.

    Args:
        chance: [B], uniform in 0..1. nothing: [L], the tokens of an empty text.
    """
    chance = chance.to(told.view.device)
    picture = settings.drop_picture
    text = picture + settings.drop_text
    everything = text + settings.drop_all
    blank = ((chance >= text) & (chance < everything))[:, None]
    mute = ((chance >= picture) & (chance < everything))[:, None]
    unseen = (chance < picture)[:, None] | blank
    return Told(
        torch.where(mute, nothing, told.tokens),
        told.view * ~blank,
        told.given_view * ~unseen,
        told.given * ~unseen[..., None, None],
    )


def train_novel_view(
    folder: Path,
    settings: NovelViewSettings,
    device: str,
    resume: bool,
    save_minutes: float,
    model: str = TOYBOX,
) -> None:
    """Train until `settings.pictures` pairs have been seen; log to FOLDER/log.jsonl, save every `save_minutes`.

    Args:
        resume: go on from the last save in `folder`.
        model: the prior to begin with.
    """
    trainer = NovelViewTrainer(folder, settings, device, model)
    if resume:
        trainer.load()
    stop = settings.pictures // settings.batch
    pairs = view_pair_stream(
        _SEED + 1000 * settings.seed, trainer.step, stop, settings.batch, trainer.shape.size, settings.workers
    )
    rate = partial(novel_view_rate, settings)
    train_on(trainer, pairs, folder, settings.batch, stop, rate, "view_gate", save_minutes)


def main(argv: list[str] | None = None) -> None:
    defaults = NovelViewSettings()
    parser = argparse.ArgumentParser("distill3d toybox train-novel-view", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("outputs/toybox-novel-view"), help="folder for the training")
    parser.add_argument("--pictures", type=int, default=defaults.pictures, help="how many pairs to train on")
    parser.add_argument("--batch", type=int, default=defaults.batch)
    parser.add_argument("--lr", type=float, default=defaults.lr)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--workers", type=int, default=defaults.workers, help="processes that draw pictures")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 is its own choice")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--model", default=TOYBOX, help="the prior: toybox, or a folder that `toybox train` made")
    parser.add_argument("--save-minutes", type=float, default=5.0)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --out")
    args = parser.parse_args(argv)
    for name in ("pictures", "batch", "save_minutes", "lr"):
        if getattr(args, name) <= 0:
            raise UserError(f"--{name.replace('_', '-')} must be positive (got {getattr(args, name):g})")
    if args.pictures < args.batch:
        raise UserError(f"--pictures is at least a batch of {args.batch} (got {args.pictures})")
    if args.threads:
        torch.set_num_threads(args.threads)
    settings = NovelViewSettings(
        pictures=args.pictures, batch=args.batch, lr=args.lr, seed=args.seed, workers=args.workers
    )  # fmt: skip
    train_novel_view(args.out, settings, args.device, args.resume, args.save_minutes, args.model)


if __name__ == "__main__":
    main()
