"""Train a ControlNet of the embedded prior: `distill3d toybox train-control --kind depth|edge`. Seeded and resumable.

The prior stands still; a copy of its encoder learns from pictures with their hints (Zhang et al. 2023, section 3.2),
through the very door that sampling goes by, and by the loss that the prior was trained with: the squared error of the
velocity. Caption and camera are each dropped in a share of the pictures, so that the hint is heard without them.
"""

from __future__ import annotations

import argparse
import copy
import json
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from huggingface_hub.utils import disable_progress_bars
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.diffusion.control import Controls, residual_count
from distill3d.diffusion.encoder_control import EncoderControl
from distill3d.diffusion.folder import check_network, load_network
from distill3d.diffusion.hint import Hint
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.toybox.dataset import Batch, make_batch, stream
from distill3d.toybox.hints import HINTS, HintKind
from distill3d.toybox.training_loop import train_on
from distill3d.toybox.training_state import FILE, falling_rate, load_state, save_state

_SEEDS: dict[HintKind, int] = {"depth": 21, "edge": 22}  # of the streams of pictures; the prior's own were 0 and 11
_HELD = 10_100  # seed of the pictures that training never sees


@dataclass(frozen=True)
class ControlSettings:
    """How long and how fast; `pictures` is the budget that the learning rate falls over."""

    kind: HintKind = "depth"
    pictures: int = 16_000
    batch: int = 16
    lr: float = 1e-3
    hint_lr: float = 1.0  # times `lr`, for the layers that the hint goes through: thin edges are heard late
    warmup: int = 50  # steps
    decay_from: float = 0.5  # share of the budget after which the learning rate falls linearly to 2 % of itself
    weight_decay: float = 0.01
    ema: float = 0.99  # a step
    drop_text: float = 0.3
    drop_camera: float = 0.4
    high_noise: float = 0.3  # t = T u^high_noise with u uniform, as for the prior
    least_variance: float = 0.1  # sigma^2 below which the weight of the loss, 1 / sigma^2, grows no more
    seed: int = 0
    workers: int = 0


def control_rate(settings: ControlSettings, step: int) -> float:
    """The learning rate: warm up, hold, fall linearly."""
    return settings.lr * falling_rate(step, settings.pictures / settings.batch, settings.warmup, settings.decay_from)


class ControlTrainer:
    """The state of a training: the copy that learns, its running average, the optimiser and the step."""

    def __init__(self, folder: Path, settings: ControlSettings, device: str, model: str = "toybox") -> None:
        self.folder, self.settings, self.device = folder, settings, device
        torch.manual_seed(settings.seed)  # the layers that the hint goes through begin at random
        self.prior = DiffusionPrior(DiffusionPrior.Config(model=model, dtype="float32"), device)
        if self.prior.controls.networks or not self.prior.sees_cameras:
            raise UserError(f"{model} is no prior of the toybox without ControlNets")
        self.prior.unet.to(memory_format=torch.channels_last)
        self.control = EncoderControl.of(self.prior.unet, self.prior.codec.scale).to(device)
        self.control.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.control).requires_grad_(False)
        rest = [p for name, p in self.control.named_parameters() if not name.startswith("hint.")]
        groups = [
            {"params": rest, "scale": 1.0},
            {"params": list(self.control.hint.parameters()), "scale": settings.hint_lr},
        ]
        self.optimizer = torch.optim.AdamW(
            groups, settings.lr, betas=(0.9, 0.98), weight_decay=settings.weight_decay, fused=True
        )
        self.step, self.seconds = 0, 0.0

    def errors(
        self, network: EncoderControl, batch: Batch, hints: Tensor, t: Tensor, noise: Tensor, weigh: bool = True
    ) -> Tensor:
        """Each picture's squared error with `network` beside the prior, [B].

        Args:
            hints: [B, H, W, 1].
            weigh: over max(sigma^2, least_variance), so that it is the velocity's.
        """
        prior = self.prior
        prior.controls = Controls([network], [[1.0] * residual_count(network)], prior.codec.scale)
        x0 = prior.encode(batch.pictures.to(self.device)).contiguous(memory_format=torch.channels_last)
        alpha, sigma = prior.schedule.at(t, x0)
        condition = prior.condition(batch.captions, control=Hint(hints.to(self.device)))
        condition = replace(condition, view=batch.views.to(self.device), unconditional=None)
        error = (prior.denoise(alpha * x0 + sigma * noise.to(x0), t, condition).clean - x0).square()
        if weigh:
            error = error / sigma.square().clamp(min=self.settings.least_variance)
        return error.flatten(1).mean(1)

    def loss(self, batch: Batch) -> Tensor:
        """Each picture's loss, [B], at this step's times, noise and dropped words."""
        settings, count = self.settings, len(batch.captions)
        assert batch.hints is not None
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + self.step)
        t = (len(self.prior.schedule) * torch.rand(count, generator=generator) ** settings.high_noise).long()
        noise = torch.randn(self.prior.x_shape(count), generator=generator)
        silent = (torch.rand(count, generator=generator) < settings.drop_text).tolist()
        captions = ["" if quiet else caption for quiet, caption in zip(silent, batch.captions, strict=True)]
        views = batch.views * (torch.rand(count, 1, generator=generator) >= settings.drop_camera)
        told = replace(batch, captions=captions, views=views)
        return self.errors(self.control, told, batch.hints, t.to(self.device), noise)

    def advance(self, batch: Batch) -> Tensor:
        """One step of the optimiser and of the running average; returns the losses."""
        for group in self.optimizer.param_groups:
            group["lr"] = control_rate(self.settings, self.step) * group["scale"]
        losses = self.loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        losses.mean().backward()
        torch.nn.utils.clip_grad_norm_(self.control.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        keep = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.control.parameters()), 1 - keep)
        return losses.detach()

    @torch.no_grad()
    def gate(self, count: int = 32, share: float = 0.9) -> dict[str, float]:
        """The average's squared error of the clean picture at one noise level, on pictures that training never sees:
        with the right hint, with that of another picture, and without any."""
        batch = make_batch(_HELD, 0, count, self.prior.resolution, hint=self.settings.kind)
        assert batch.hints is not None
        noise = torch.randn(self.prior.x_shape(count), generator=torch.Generator().manual_seed(0))
        t = torch.full((count,), self.prior.schedule.fraction(share), device=self.device)
        untrained = EncoderControl.of(self.prior.unet, self.prior.codec.scale).to(self.device)
        told = (
            ("right", self.average, batch.hints),
            ("wrong", self.average, batch.hints.roll(1, 0)),
            ("none", untrained, batch.hints),  # it adds zeros
        )
        return {n: round(float(self.errors(net, batch, h, t, noise, False).mean()), 5) for n, net, h in told}

    def save(self) -> None:
        """Everything that resuming needs, under a temporary name first; then the folder that samples."""
        numbers = {"step": self.step, "seconds": round(self.seconds, 1)}
        save_state(self.folder, self.networks(), self.optimizer, numbers)
        state = {"settings": asdict(self.settings), **numbers}
        (self.folder / "training.json").write_text(json.dumps(state, indent=2) + "\n")
        disable_progress_bars()  # of the hub's library, which shows one for each file
        copy.deepcopy(self.average).half().save_pretrained(self.folder / "control", max_shard_size="16MB")

    def start_from(self, folder: Path) -> None:
        """Begin with the weights of another ControlNet of this prior, of any kind.

        Edges are a few thin lines: a copy that listens already, to depth, hears them sooner than one that does not.

        Raises:
            UserError: the folder holds no such ControlNet, or one of another shape.
        """
        check_network(folder, "EncoderControl")
        state = load_network(folder, "", "EncoderControl", torch.float32).state_dict()
        try:
            for network in (self.control, self.average):
                network.load_state_dict(state)
        except RuntimeError as error:
            raise UserError(f"{folder} has another shape than the network to train") from error

    def load(self) -> None:
        """Go on from the last `save`.

        Raises:
            UserError: there is none, or it is of another kind.
        """
        if not (self.folder / FILE).is_file():
            raise UserError(f"{self.folder / FILE} is missing: there is no training to resume in {self.folder}")
        kind = json.loads((self.folder / "training.json").read_text())["settings"]["kind"]
        if kind != self.settings.kind:
            raise UserError(f"{self.folder} holds a training of the kind {kind}, not {self.settings.kind}")
        numbers = load_state(self.folder, self.networks(), self.optimizer)
        self.step, self.seconds = int(numbers["step"]), numbers["seconds"]

    def networks(self) -> dict[str, torch.nn.Module]:
        return {"control": self.control, "average": self.average}


def train_control(
    folder: Path,
    settings: ControlSettings,
    device: str,
    resume: bool,
    save_minutes: float,
    model: str = "toybox",
    start: Path | None = None,
) -> None:
    """Train until `settings.pictures` have been seen; log to FOLDER/log.jsonl, save every `save_minutes`.

    Args:
        resume: go on from the last save in `folder`.
        model: the prior.
        start: a ControlNet's folder, whose weights a training that does not resume begins with.
    """
    trainer = ControlTrainer(folder, settings, device, model)
    if resume:
        trainer.load()
    elif start is not None:
        trainer.start_from(start)
    stop = settings.pictures // settings.batch
    batches = stream(
        _SEEDS[settings.kind] + 1000 * settings.seed, trainer.step, stop, settings.batch, trainer.prior.resolution,
        settings.workers, hint=settings.kind,
    )  # fmt: skip
    rate = partial(control_rate, settings)
    train_on(trainer, batches, folder, settings.batch, stop, rate, "hint_gate", save_minutes)


def main(argv: list[str] | None = None) -> None:
    defaults = ControlSettings()
    parser = argparse.ArgumentParser("distill3d toybox train-control", description=__doc__)
    parser.add_argument("--kind", choices=HINTS, required=True, help="what the ControlNet is shown")
    parser.add_argument("--out", type=Path, default=None, help="folder for the training; outputs/toybox-KIND")
    parser.add_argument("--pictures", type=int, default=defaults.pictures, help="how many pictures to train on")
    parser.add_argument("--batch", type=int, default=defaults.batch)
    parser.add_argument("--lr", type=float, default=defaults.lr)
    parser.add_argument("--hint-lr", type=float, default=defaults.hint_lr, help="times --lr, of the hint's own layers")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--workers", type=int, default=defaults.workers, help="processes that draw pictures")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 is its own choice")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--model", default="toybox", help="the prior: toybox, or a folder that `toybox train` made")
    parser.add_argument("--save-minutes", type=float, default=5.0)
    parser.add_argument("--start", type=Path, metavar="FOLDER", help="begin with the weights of this ControlNet")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --out")
    args = parser.parse_args(argv)
    for name in ("pictures", "batch", "save_minutes", "lr", "hint_lr"):
        if getattr(args, name) <= 0:
            raise UserError(f"--{name.replace('_', '-')} must be positive (got {getattr(args, name):g})")
    if args.threads:
        torch.set_num_threads(args.threads)
    settings = ControlSettings(
        kind=args.kind, pictures=args.pictures, batch=args.batch, lr=args.lr, hint_lr=args.hint_lr, seed=args.seed,
        workers=args.workers,
    )  # fmt: skip
    folder = args.out or Path("outputs") / f"toybox-{args.kind}"
    train_control(folder, settings, args.device, args.resume, args.save_minutes, args.model, args.start)


if __name__ == "__main__":
    main()
