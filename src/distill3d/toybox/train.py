"""Train the embedded prior from scratch: `distill3d toybox train`. Seeded and resumable, on a CPU or a GPU.

The network predicts the clean picture from a noisy one (Ho et al. 2020, algorithm 1) and is judged by the velocity
(Salimans and Ho 2022), whose error is that of the picture over sigma. The caption is dropped in one picture of ten for
classifier-free guidance, the camera in one of twelve so that text alone works too.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.core.threads import use_threads
from distill3d.diffusion.folder import check_network, load_network
from distill3d.diffusion.patches import PatchCodec
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.toybox.dataset import Batch, encode, make_batch, stream
from distill3d.toybox.gate import CAMERAS, camera_losses
from distill3d.toybox.model import Denoiser, Shape, make_scheduler, make_tokenizer, save_folder, tokenize
from distill3d.toybox.training_state import falling_rate, load_state, log_row, save_state

GATED = ("car", "chair", "mug", "house", "cube", "snowman", "mushroom", "airplane")
BINS = 8  # of the log of the loss by timestep


@dataclass(frozen=True)
class Settings:
    """How long and how fast; `pictures` is the budget that the learning rate falls over."""

    pictures: int = 200_000
    batch: int = 16
    lr: float = 1e-3
    camera_lr: float = 4.0  # times `lr`, for the MLP that hears the camera: the last thing to be learnt
    warmup: int = 300  # steps
    decay_from: float = 0.5  # share of the budget after which the learning rate falls linearly to 2 % of itself
    weight_decay: float = 0.01
    ema: float = 0.998  # a step; the average is brought up to date every `ema_every` steps
    ema_every: int = 4
    drop_text: float = 0.1
    drop_camera: float = 0.08
    high_noise: float = 0.3  # t = T u^high_noise with u uniform: below 1 favours the noise levels that shape an object
    least_variance: float = 0.1  # sigma^2 below which the weight of the loss, 1 / sigma^2, grows no more
    canvas_weight: float = 0.5  # of the squared error of the mean picture
    canvas_pictures: int = 0  # on which the canvas learns alone, before the rest
    seed: int = 0
    workers: int = 1


def learning_rate(settings: Settings, step: int) -> float:
    """Warm up, hold, fall linearly."""
    return settings.lr * falling_rate(step, settings.pictures / settings.batch, settings.warmup, settings.decay_from)


class Trainer:
    """The state of a training: networks, their running average, the optimiser and the step."""

    def __init__(self, folder: Path, shape: Shape, settings: Settings, device: str) -> None:
        self.folder, self.shape, self.settings, self.device = folder, shape, settings, device
        torch.manual_seed(settings.seed)
        self.tokenizer = make_tokenizer(shape.tokens)
        self.denoiser = Denoiser(shape, len(self.tokenizer))
        self.average = Denoiser(shape, len(self.tokenizer))
        for network in (self.denoiser, self.average):
            network.to(device)
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average.load_state_dict(self.denoiser.state_dict())
        hearing = list(self.denoiser.unet.class_embedding.parameters())
        rest = [p for p in self.denoiser.parameters() if not any(p is h for h in hearing)]
        groups = [{"params": rest, "scale": 1.0}, {"params": hearing, "scale": settings.camera_lr}]
        self.optimizer = torch.optim.AdamW(
            groups, settings.lr, betas=(0.9, 0.98), weight_decay=settings.weight_decay, fused=True
        )
        self.schedule = NoiseSchedule.from_config(make_scheduler().config)
        self.codec = PatchCodec(shape.patch, 4, 0.5)
        self.step, self.painted, self.seconds = 0, 0, 0.0

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Each picture's squared error, weighted to be that of the velocity, and its timestep, [B] each."""
        settings, count = self.settings, len(batch.captions)
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + self.step)
        x0 = encode(batch, self.codec, self.device)
        t = (len(self.schedule) * torch.rand(count, generator=generator) ** settings.high_noise).long()
        noise = torch.randn(x0.shape, generator=generator).to(x0)
        captions = [
            "" if drop < settings.drop_text else caption
            for drop, caption in zip(torch.rand(count, generator=generator).tolist(), batch.captions, strict=True)
        ]
        views = batch.views * (torch.rand(count, 1, generator=generator) >= settings.drop_camera)
        alpha, sigma = self.schedule.at(t, x0)
        tokens = tokenize(self.tokenizer, captions).to(self.device)
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.startswith("cuda")):
            clean, mean = self.denoiser(alpha * x0 + sigma * noise, t.to(self.device), tokens, views.to(self.device))
        error = (clean.float() - x0).square() / sigma.square().clamp(min=settings.least_variance)
        error = error + settings.canvas_weight * (mean.float() - x0).square()
        return error.flatten(1).mean(1), t

    def paint(self, batch: Batch, optimizer: torch.optim.Optimizer) -> float:
        """One step of the canvas alone, by regression on the pictures; returns its squared error."""
        keep = torch.rand(len(batch.captions), 2, generator=torch.Generator().manual_seed(self.painted))
        captions = [
            "" if k < self.settings.drop_text else c for k, c in zip(keep[:, 0].tolist(), batch.captions, strict=True)
        ]
        views = batch.views * (keep[:, 1:] >= self.settings.drop_camera)
        _, labels = self.denoiser.labels(tokenize(self.tokenizer, captions).to(self.device), views.to(self.device))
        error = (self.denoiser.canvas(labels) - encode(batch, self.codec, self.device)).square().mean()
        optimizer.zero_grad(set_to_none=True)
        error.backward()
        optimizer.step()
        self.painted += 1
        return float(error.detach())

    def advance(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """One step of the optimiser and of the running average."""
        lr = learning_rate(self.settings, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["scale"]
        losses, t = self.loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        losses.mean().backward()
        torch.nn.utils.clip_grad_norm_(self.denoiser.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        every = self.settings.ema_every
        if self.step % every == 0:
            keep = min(self.settings.ema**every, (1 + self.step / every) / (10 + self.step / every))
            with torch.no_grad():
                torch._foreach_lerp_(list(self.average.parameters()), list(self.denoiser.parameters()), 1 - keep)
        return losses.detach(), t

    @torch.no_grad()
    def gate(self, count: int = 16) -> dict[str, dict[str, float]]:
        """The averaged network's losses by camera, on pictures that training never sees."""
        batches = [make_batch(10_000 + i, 0, count, self.shape.size, category=c) for i, c in enumerate(GATED)]

        def clean(x_t: Tensor, t: Tensor, captions: list[str], views: Tensor) -> Tensor:
            return self.average(x_t, t, tokenize(self.tokenizer, captions).to(self.device), views)[0]

        return camera_losses(clean, self.schedule, lambda b: encode(b, self.codec, self.device), batches, 0.95)

    def save(self) -> None:
        """Everything that resuming needs, under a temporary name first; then the folder that samples."""
        numbers = {"step": self.step, "seconds": round(self.seconds, 1)}
        save_state(self.folder, self.networks(), self.optimizer, numbers)
        state = {"settings": asdict(self.settings), "shape": asdict(self.shape), **numbers}
        (self.folder / "training.json").write_text(json.dumps(state, indent=2) + "\n")
        save_folder(self.folder / "prior", self.shape, self.average, self.tokenizer)

    def start_from(self, folder: Path) -> None:
        """Begin with the weights of the prior in `folder`, of this shape and vocabulary.

        Raises:
            UserError: the folder holds no such prior, or one of another shape.
        """
        parts = {"unet": "UNet2DConditionModel", "canvas": "Canvas", "text_encoder": "CLIPTextModel"}
        for name, class_name in parts.items():
            check_network(folder / name, class_name)
            state = load_network(folder, name, class_name, torch.float32).state_dict()
            for denoiser in (self.denoiser, self.average):
                network = getattr(denoiser, name.removesuffix("_encoder"))
                try:
                    network.load_state_dict(state)
                except RuntimeError as error:
                    raise UserError(f"{folder / name} has another shape than the network to train") from error

    def load(self) -> None:
        """Go on from the last `save`."""
        numbers = load_state(self.folder, self.networks(), self.optimizer)
        self.step, self.seconds = int(numbers["step"]), numbers["seconds"]

    def networks(self) -> dict[str, torch.nn.Module]:
        return {"denoiser": self.denoiser, "average": self.average}


def paint(trainer: Trainer, batch: int = 64, lr: float = 2e-3) -> None:
    """The canvas alone, on `canvas_pictures` pictures without antialiasing: a mean picture needs none."""
    settings, size = trainer.settings, trainer.shape.size
    steps = settings.canvas_pictures // batch
    optimizer = torch.optim.AdamW(trainer.denoiser.canvas.parameters(), lr, betas=(0.9, 0.98), weight_decay=0.0)
    errors, begun = [], time.monotonic()
    for pictures in stream(settings.seed + 1, 0, steps, batch, size, max(settings.workers, 1), factor=1):
        share = trainer.painted / steps
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (trainer.painted + 1) / 100, 2.5 * (1 - share) + 0.02)
        errors.append(trainer.paint(pictures, optimizer))
        if trainer.painted % 100 == 0:
            speed = trainer.painted * batch / (time.monotonic() - begun)
            error = sum(errors[-100:]) / len(errors[-100:])
            log_row(trainer.folder, {"canvas_pictures": trainer.painted * batch, "error": round(error, 5)})
            print(
                f"{trainer.painted * batch:>9} pictures of the canvas  error {error:.4f}  {speed:.0f} pictures/s",
                flush=True,
            )
    trainer.average.canvas.load_state_dict(trainer.denoiser.canvas.state_dict())


def train(
    folder: Path,
    shape: Shape,
    settings: Settings,
    device: str,
    resume: bool,
    save_minutes: float,
    start: Path | None = None,
) -> None:
    """Train until `settings.pictures` have been seen; log to FOLDER/log.jsonl, save every `save_minutes`.

    Args:
        resume: go on from the last save in `folder`.
        start: a prior's folder, whose weights a training that does not resume begins with.
    """
    trainer = Trainer(folder, shape, settings, device)
    if resume:
        trainer.load()
    elif start is not None:
        trainer.start_from(start)
    folder.mkdir(parents=True, exist_ok=True)
    if settings.canvas_pictures:
        paint(trainer)
        trainer.save()
    stop = settings.pictures // settings.batch
    started, saved = time.monotonic() - trainer.seconds, time.monotonic()
    sums, counts, done = torch.zeros(BINS), torch.zeros(BINS), trainer.step
    rates = time.monotonic()
    for batch in stream(settings.seed, trainer.step, stop, settings.batch, shape.size, settings.workers):
        losses, t = trainer.advance(batch)
        bins = t * BINS // len(trainer.schedule)
        sums.index_add_(0, bins, losses.float().cpu())
        counts.index_add_(0, bins, torch.ones(len(bins)))
        trainer.seconds = time.monotonic() - started
        if trainer.step % 100 == 0 or trainer.step == stop:
            speed = (trainer.step - done) * settings.batch / (time.monotonic() - rates)
            left = (stop - trainer.step) * settings.batch / speed
            row = {
                "pictures": trainer.step * settings.batch,
                "loss": round(float(sums.sum() / counts.sum()), 5),
                "by_timestep": [round(float(v), 5) for v in sums / counts.clamp(min=1)],
                "lr": round(learning_rate(settings, trainer.step), 6),
                "pictures_per_second": round(speed, 1),
                "seconds": round(trainer.seconds),
            }
            log_row(folder, row)
            print(
                f"{row['pictures']:>9} of {settings.pictures} pictures  loss {row['loss']:.4f}  "
                f"{speed:.0f} pictures/s  {left / 60:.0f} min left",
                flush=True,
            )
            sums.zero_(), counts.zero_()
            rates, done = time.monotonic(), trainer.step
        if time.monotonic() - saved > 60 * save_minutes or trainer.step == stop:
            trainer.save()
            table = trainer.gate()
            log_row(folder, {"pictures": trainer.step * settings.batch, "camera_gate": table})
            losses_by_camera = "  ".join(f"{c} {table['all'][c]:.4f}" for c in CAMERAS)
            print(f"{trainer.step * settings.batch:>9} pictures  loss by camera: {losses_by_camera}", flush=True)
            saved = rates = time.monotonic()
            done = trainer.step


def add_arguments(parser: argparse.ArgumentParser) -> None:
    defaults = Settings()
    parser.add_argument("--out", type=Path, default=Path("outputs/toybox-prior"), help="folder for the training")
    parser.add_argument("--pictures", type=int, default=defaults.pictures, help="how many pictures to train on")
    parser.add_argument("--batch", type=int, default=defaults.batch)
    parser.add_argument("--lr", type=float, default=defaults.lr)
    parser.add_argument("--ema", type=float, default=defaults.ema)
    parser.add_argument("--decay-from", type=float, default=defaults.decay_from)
    parser.add_argument("--high-noise", type=float, default=defaults.high_noise, help="below 1 favours high noise")
    parser.add_argument("--canvas-pictures", type=int, default=0, help="on which the canvas learns alone, first")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--workers", type=int, default=defaults.workers, help="processes that draw pictures")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 is its own choice")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--channels", type=int, nargs=3, default=Shape().channels)
    parser.add_argument("--layers", type=int, nargs=3, default=Shape().layers)
    parser.add_argument("--heads", type=int, nargs=3, default=Shape().heads)
    parser.add_argument("--save-minutes", type=float, default=5.0)
    parser.add_argument("--start", type=Path, metavar="FOLDER", help="begin with the weights of this prior")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --out")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("distill3d toybox train", description=__doc__)
    add_arguments(parser)
    run(parser.parse_args(argv))


def run(args: argparse.Namespace) -> None:
    if args.threads:
        use_threads(args.threads)
    settings = Settings(
        pictures=args.pictures,
        batch=args.batch,
        lr=args.lr,
        ema=args.ema,
        decay_from=args.decay_from,
        high_noise=args.high_noise,
        canvas_pictures=args.canvas_pictures,
        seed=args.seed,
        workers=args.workers,
    )
    shape = Shape(channels=tuple(args.channels), layers=tuple(args.layers), heads=tuple(args.heads))
    train(args.out, shape, settings, args.device, args.resume, args.save_minutes, args.start)


if __name__ == "__main__":
    main()
