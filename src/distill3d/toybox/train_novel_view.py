"""Train the embedded novel-view model, a miniature Zero-1-to-3: `distill3d toybox train-novel-view`. Resumable.

It begins as the embedded prior. First its eye alone learns to say of a picture what the prior's text encoder makes of
the toy's caption, and from which side of the toy it was taken: then the prior hears from the eye what it heard from
words and camera. After that all of it learns, from pairs of pictures of one toy, what another camera sees (Liu et al.
2023, "Zero-1-to-3", section 3.2), by the loss that the prior was trained with. Picture and camera are dropped together
in a share of the pairs, so that guidance has its branch.

Without the eye's lessons, told of the picture through tokens of their own and of the camera by its turn, the model had
not begun to hear the camera after 2,700 pairs.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.diffusion.aliases import TOYBOX
from distill3d.diffusion.folder import local
from distill3d.diffusion.patches import PatchCodec
from distill3d.diffusion.relative_view import reference_vector, turned_view
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.view import view_vector
from distill3d.toybox.model import make_scheduler
from distill3d.toybox.novel_view_model import Told, ViewDenoiser, begin, save_folder
from distill3d.toybox.training_loop import train_on
from distill3d.toybox.training_state import falling_rate, load_state, save_state
from distill3d.toybox.view_pairs import ViewPairs, make_view_pairs, view_pair_stream

_SEED = 61  # of the stream of pairs; the prior's own were 0 and 11, others' 21, 22 and 41
_WORDS, _FRONT = 10.0, 2.0  # weights of the eye's lesson: over captions tokens vary by less than sines
_HELD = 10_600  # seed of the pairs that training never sees


@dataclass(frozen=True)
class NovelViewSettings:
    """How long and how fast; `pictures` is the budget of pairs that the learning rate falls over."""

    pictures: int = 60_000
    eye: int = 20_000  # pairs of these, the first, of which the eye alone learns
    batch: int = 16
    lr: float = 1e-3
    warmup: int = 50  # steps, of the eye and again of all
    decay_from: float = 0.5  # share of either budget after which the learning rate falls linearly to 2 % of itself
    weight_decay: float = 0.01
    ema: float = 0.99  # a step
    drop: float = 0.07  # picture and camera
    high_noise: float = 0.4  # t = T u^high_noise with u uniform, as for the prior
    least_variance: float = 0.1  # sigma^2 below which the weight of the loss, 1 / sigma^2, grows no more
    canvas_weight: float = 0.2  # of the squared error of the mean picture
    lesson_weight: float = 0.1  # of the eye's lesson while all learn
    seed: int = 0
    workers: int = 0


class NovelViewTrainer:
    """The state of a training: the network, its running average, the optimiser and the step."""

    def __init__(self, folder: Path, settings: NovelViewSettings, device: str, model: str = TOYBOX) -> None:
        self.folder, self.settings, self.device = folder, settings, device
        torch.manual_seed(settings.seed)  # the eye begins at random
        start = local(model)
        if start is None:
            raise UserError(f"{model} is neither toybox nor a folder that `toybox train` made")
        self.shape, self.denoiser, self.hearing = begin(start)
        self.average = ViewDenoiser(self.shape)
        self.average.load_state_dict(self.denoiser.state_dict())
        self.average.requires_grad_(False)
        self.hearing.encoder.to(device)
        for network in (self.denoiser, self.average):
            network.to(device)
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            self.denoiser.parameters(), settings.lr, betas=(0.9, 0.98), weight_decay=settings.weight_decay, fused=True
        )
        self.schedule = NoiseSchedule.from_config(make_scheduler().config)
        self.codec = PatchCodec(self.shape.patch, 4, 0.5)
        self.step, self.seconds = 0, 0.0

    def told(self, network: ViewDenoiser, batch: ViewPairs, turned_by: float = 0.0) -> tuple[Told, Tensor]:
        """What the denoiser is told of a batch, and from where the given pictures were taken, as its eye says, [B, 8].

        `turned_by`: degrees by which the azimuths are told wrong.
        """
        given, c = self._encode(batch.given), batch.cameras
        asked = Cameras.orbit(c.azimuth + math.radians(turned_by), c.elevation, c.distance, c.fov, c.height)
        tokens, front = network.eye(given, reference_vector(batch.references).to(given))
        view = turned_view(front, asked.to(given.device), batch.references.to(given.device), batch.lights.to(given))
        return Told(tokens, view, given), front

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

    def lesson(self, batch: ViewPairs, told: Told, front: Tensor) -> Tensor:
        """Each pair's squared error of what the eye says, [B]: the caption's tokens, and the azimuth's harmonics."""
        words = self.hearing(batch.captions)
        own = told.tokens[:, : self.shape.tokens] - words[:, : self.shape.tokens]
        if self.step < self.eye_steps:
            own = told.tokens - words
        true = view_vector(batch.references)[:, 1 : 1 + front.shape[1]].to(front)
        return _WORDS * own.square().flatten(1).mean(1) + _FRONT * (front - true).square().mean(1)

    def loss(self, batch: ViewPairs) -> Tensor:
        """Each pair's loss, [B], at this step's times, noise and what is dropped."""
        settings, count = self.settings, len(batch.captions)
        told, front = self.told(self.denoiser, batch)
        lesson = self.lesson(batch, told, front)
        if self.step < self.eye_steps:
            return lesson
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + self.step)
        t = (len(self.schedule) * torch.rand(count, generator=generator) ** settings.high_noise).long()
        noise = torch.randn(told.picture.shape, generator=generator)
        seen = (torch.rand(count, 1, generator=generator) >= settings.drop).to(told.view)
        told = self.denoiser.forgetful(told, seen)
        return self.errors(self.denoiser, batch, told, t, noise) + settings.lesson_weight * lesson

    @property
    def eye_steps(self) -> int:
        """Steps of which the eye alone learns."""
        return self.settings.eye // self.settings.batch

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
        never sees: told rightly, with the azimuth a quarter or half a turn wrong, with another toy's picture, and with
        nothing; that of the given picture itself, and of the eye's lesson."""
        batch = make_view_pairs(_HELD, 0, count, self.shape.size)
        noise = torch.randn(self._encode(batch.asked).shape, generator=torch.Generator().manual_seed(0))
        t = torch.full((count,), self.schedule.fraction(share), device=self.device)
        told, front = self.told(self.average, batch)
        turned = {f"azimuth + {turn}": self.told(self.average, batch, turn)[0] for turn in (90, 180)}
        others = Told(told.tokens.roll(1, 0), told.view, told.picture.roll(1, 0))
        nothing = self.average.forgetful(told, torch.zeros(count, 1).to(told.view))
        ways = {"right": told, **turned, "other picture": others, "nothing": nothing}
        errors = {
            name: float(self.errors(self.average, batch, way, t, noise, False).mean()) for name, way in ways.items()
        }
        errors["given"] = float((told.picture - self._encode(batch.asked)).square().mean())
        errors["lesson"] = float(self.lesson(batch, told, front).mean())
        return {name: round(error, 5) for name, error in errors.items()}

    def save(self) -> None:
        """Everything that resuming needs; then FOLDER/model, which samples with the running average."""
        numbers = {"step": self.step, "seconds": round(self.seconds, 1)}
        save_state(self.folder, self.networks(), self.optimizer, numbers)
        state = {"settings": asdict(self.settings), **numbers}
        (self.folder / "training.json").write_text(json.dumps(state, indent=2) + "\n")
        save_folder(self.folder / "model", self.shape, self.average)

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
    """The learning rate: warm up, hold, fall linearly; for the eye alone, and again for all."""
    eye, whole = (n / settings.batch for n in (settings.eye, settings.pictures))
    begun, steps = (0.0, eye) if step < int(eye) else (int(eye), whole - eye)
    return settings.lr * falling_rate(int(step - begun), steps, settings.warmup, settings.decay_from)


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
    parser.add_argument("--eye", type=int, default=defaults.eye, help="of which the eye alone learns")
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
    if not 0 <= args.eye < args.pictures:
        raise UserError(f"--eye is a part of the {args.pictures} pictures (got {args.eye})")
    if args.threads:
        torch.set_num_threads(args.threads)
    settings = NovelViewSettings(
        pictures=args.pictures, eye=args.eye, batch=args.batch, lr=args.lr, seed=args.seed, workers=args.workers
    )  # fmt: skip
    train_novel_view(args.out, settings, args.device, args.resume, args.save_minutes, args.model)


if __name__ == "__main__":
    main()
