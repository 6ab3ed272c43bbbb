"""Train a ControlNet of an embedded prior: `distill3d toybox train-control --kind depth|edge`. Seeded and resumable.

The prior stands still; a copy of its encoder learns from pictures with their hints (Zhang et al. 2023, section 3.2),
through the very door that sampling goes by, and by the loss that the prior was trained with: the squared error of the
velocity. Caption and camera are each dropped in a share of the pictures, so that the hint is heard without them.

A prior without a channel for coverage, such as the miniature of Stable Diffusion (`--model toybox-latent`), sees the
toys before plain walls, and one without a camera is told none.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from huggingface_hub.utils import disable_progress_bars
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.diffusion.control import Controls, residual_count
from distill3d.diffusion.folder import check_network, load_network
from distill3d.diffusion.hint import Hint
from distill3d.diffusion.networks.encoder_control import EncoderControl
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.toybox.averaged_training import AveragedTraining
from distill3d.toybox.backdrops import before, random_backdrops
from distill3d.toybox.dataset import Batch, make_batch, stream
from distill3d.toybox.hints import HINTS, HintKind
from distill3d.toybox.training_command import parsed, training_parser
from distill3d.toybox.training_loop import train_on
from distill3d.toybox.training_state import FILE

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


class ControlTrainer(AveragedTraining[EncoderControl]):
    """The copy of the prior's encoder that learns, beside the prior, which stands still."""

    name: ClassVar[str] = "control"

    def __init__(self, folder: Path, settings: ControlSettings, device: str, model: str = "toybox") -> None:
        torch.manual_seed(settings.seed)  # the layers that the hint goes through begin at random
        self.prior = DiffusionPrior(DiffusionPrior.Config(model=model, dtype="float32"), device)
        if self.prior.controls.networks or self.prior.sees_image:
            raise UserError(f"{model} is no prior of text alone without ControlNets")
        self.prior.unet.to(memory_format=torch.channels_last)
        self.control = EncoderControl.of(self.prior.unet, self.prior.codec.scale).to(device)
        self.control.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        rest = [p for name, p in self.control.named_parameters() if not name.startswith("hint.")]
        groups = [
            {"params": rest, "scale": 1.0},
            {"params": list(self.control.hint.parameters()), "scale": settings.hint_lr},
        ]
        super().__init__(folder, settings, device, self.control, copy.deepcopy(self.control), groups)

    def errors(
        self, network: EncoderControl, batch: Batch, hints: Tensor, t: Tensor, noise: Tensor, weigh: bool = True
    ) -> Tensor:
        """Each picture's squared error with `network` beside the prior, [B].

        Args:
            batch: as `shown` makes it.
            hints: [B, H, W, 1].
            weigh: over max(sigma^2, least_variance), so that it is the velocity's.
        """
        prior = self.prior
        prior.controls = Controls([network], [[1.0] * residual_count(network)], prior.codec.scale)
        x0 = prior.encode(batch.pictures.to(self.device)).contiguous(memory_format=torch.channels_last)
        alpha, sigma = prior.schedule.at(t, x0)
        condition = prior.condition(batch.captions, control=Hint(hints.to(self.device)))
        view = batch.views.to(self.device) if prior.sees_cameras else None
        condition = replace(condition, view=view, unconditional=None)
        error = (prior.denoise(alpha * x0 + sigma * noise.to(x0), t, condition).clean - x0).square()
        if weigh:
            error = error / sigma.square().clamp(min=self.settings.least_variance)
        return error.flatten(1).mean(1)

    def shown(self, batch: Batch, seed: int) -> Batch:
        """The batch as the prior sees it: before plain walls of that seed, if it knows no coverage."""
        if self.prior.sees_alpha:
            return batch
        walls = random_backdrops(np.random.default_rng((seed, 3)), len(batch.captions))
        return replace(batch, pictures=before(batch.pictures, walls))

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
        told = replace(self.shown(batch, self.step), captions=captions, views=views)
        return self.errors(self.control, told, batch.hints, t.to(self.device), noise)

    @torch.no_grad()
    def gate(self, count: int = 32, share: float = 0.9) -> dict[str, float]:
        """The average's squared error of the clean picture at one noise level, on pictures that training never sees:
        with the right hint, with that of another picture, and without any."""
        batch = self.shown(make_batch(_HELD, 0, count, self.prior.resolution, hint=self.settings.kind), _HELD)
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

    def save_model(self) -> None:
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
        super().load()


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
    if start is not None and not resume:
        trainer.start_from(start)

    def batches(first: int, stop: int) -> Iterable[Batch]:
        seed, size = _SEEDS[settings.kind] + 1000 * settings.seed, trainer.prior.resolution
        return stream(seed, first, stop, settings.batch, size, settings.workers, hint=settings.kind)

    train_on(trainer, batches, "hint_gate", resume, save_minutes)


def main(argv: list[str] | None = None) -> None:
    defaults = ControlSettings()
    parser = training_parser("train-control", __doc__, defaults)
    parser.set_defaults(out=None)
    parser.add_argument("--kind", choices=HINTS, required=True, help="what the ControlNet is shown")
    parser.add_argument("--hint-lr", type=float, default=defaults.hint_lr, help="times --lr, of the hint's own layers")
    parser.add_argument("--start", type=Path, metavar="FOLDER", help="begin with the weights of this ControlNet")
    args = parsed(parser, argv, ["hint_lr"])
    settings = ControlSettings(
        kind=args.kind, pictures=args.pictures, batch=args.batch, lr=args.lr, hint_lr=args.hint_lr, seed=args.seed,
        workers=args.workers,
    )  # fmt: skip
    folder = args.out or Path("outputs") / f"toybox-{args.kind}"
    train_control(folder, settings, args.device, args.resume, args.save_minutes, args.model, args.start)


if __name__ == "__main__":
    main()
