"""Train the embedded novel-view model, a miniature Zero-1-to-3: `distill3d toybox train-novel-view`. Resumable.

The prior stands still. Attention over a noisy view of a toy and a given picture of it (`diffusion.joint_canvas`) learns
from pairs to paint the mean picture that fits both (Liu et al. 2023, "Zero-1-to-3", section 3.2, is the task). It does
so by plain regression, as the prior's canvas was learnt, at sixty pairs a second on one thread; with `--whole` by the
prior's own loss, through its UNet, at ten.

One thing differs from the paper: the model is told what the toy is and from which side of it either picture is taken.
Who has a picture alone reads both off it, with the prior itself (`diffusion.pose_search`). Learning to see them from
scratch is what takes most of the pictures: an eye of its own had not begun to tell front from back after 14,000 pairs,
nor a UNet that was told the turn of the camera alone after 2,700. And a UNet that saw the given picture beside the
noisy one, told all, made little of it: after 15,000 pairs its error without the picture was 1 % higher than with it.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.diffusion.aliases import TOYBOX
from distill3d.diffusion.condition import Condition, pooled
from distill3d.diffusion.joint_canvas import JointCanvas, save_attention
from distill3d.diffusion.pixel_novel_view import ATTENTION, CAPTIONS, PRIOR, painted
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.view import view_vector
from distill3d.toybox.averaged_training import AveragedTraining
from distill3d.toybox.captions import article
from distill3d.toybox.categories import CATEGORIES
from distill3d.toybox.palette import COLORS
from distill3d.toybox.training_command import parsed, training_parser
from distill3d.toybox.training_loop import train_on
from distill3d.toybox.view_pairs import ViewPairs, make_view_pairs, view_pair_stream

_SEED = 61  # of the stream of pairs; the prior's own were 0 and 11, others' 21 to 51
_HELD = 10_600  # seed of the pairs that training never sees
_SHARES = (0.5, 0.7, 0.9, 0.97)  # noise levels of the gate, as shares of the schedule


@dataclass(frozen=True)
class NovelViewSettings:
    """How long and how fast; `pictures` is the budget of pairs that the learning rate falls over."""

    pictures: int = 64_000
    batch: int = 32
    lr: float = 1e-3
    warmup: int = 50  # steps
    decay_from: float = 0.5  # share of the budget after which the learning rate falls linearly to 2 % of itself
    weight_decay: float = 0.01
    ema: float = 0.995  # a step
    drop_text: float = 0.15
    high_noise: float = 0.3  # t = T u^high_noise with u uniform: what the canvas says counts at high noise
    least_variance: float = 0.1  # sigma^2 below which the weight of the whole loss, 1 / sigma^2, grows no more
    whole: bool = False  # the prior's loss, through its UNet
    seed: int = 0
    workers: int = 0


class NovelViewTrainer(AveragedTraining[JointCanvas]):
    """The attention that learns, before the prior, which stands still."""

    name: ClassVar[str] = "attention"

    def __init__(self, folder: Path, settings: NovelViewSettings, device: str, model: str = TOYBOX) -> None:
        self.model = model
        self.prior = DiffusionPrior(DiffusionPrior.Config(model=model, dtype="float32"), device)
        if self.prior.canvas is None or self.prior.sees_image:
            raise UserError(f"{model} is no prior of the toybox")
        torch.manual_seed(settings.seed)
        canvas = self.prior.canvas.config
        self.attention = JointCanvas(canvas.labels, canvas.channels).to(device)
        super().__init__(folder, settings, device, self.attention, copy.deepcopy(self.attention))

    def painted(
        self, attention: JointCanvas, batch: ViewPairs, x_t: Tensor, t: Tensor, captions: Sequence[str]
    ) -> Tensor:
        """The canvases of the noisy views x_t of a batch, each shown its given picture, [B, C, h, w]."""
        with torch.no_grad():
            words = pooled(self.prior.condition(list(captions)).text)
            views = view_vector(batch.cameras, batch.lights), view_vector(batch.references)
            labels, given_labels = (torch.cat([view.to(words), words], -1) for view in views)
            canvases = torch.stack([self.prior.canvas(told) for told in (labels, given_labels)], 1)
            given = self.prior.encode(batch.given.to(self.device))
        return painted(attention, self.prior.schedule, x_t, t, given, canvases, labels, given_labels)

    def loss(self, batch: ViewPairs) -> Tensor:
        """Each pair's loss, [B], at this step's times, noise and dropped texts: squared error of the canvas, or of the
        denoised view over max(sigma^2, least_variance), so that it is the velocity's."""
        settings, count = self.settings, len(batch.captions)
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + self.step)
        t = (len(self.prior.schedule) * torch.rand(count, generator=generator) ** settings.high_noise).long()
        x0 = self.prior.encode(batch.asked.to(self.device))
        noise = torch.randn(x0.shape, generator=generator).to(x0)
        heard = torch.rand(count, generator=generator) >= settings.drop_text
        said = [caption if h else "" for caption, h in zip(batch.captions, heard.tolist(), strict=True)]
        t = t.to(self.device)
        x_t = self.prior.schedule.add_noise(x0, noise, t)
        canvas = self.painted(self.attention, batch, x_t, t, said)
        if not settings.whole:
            return (canvas - x0).square().flatten(1).mean(1)
        error = (self.denoised(batch, x_t, t, said, canvas) - x0).square().flatten(1).mean(1)
        return error / self.prior.schedule.at(t, x0)[1].flatten().square().clamp(min=settings.least_variance)

    def denoised(
        self, batch: ViewPairs, x_t: Tensor, t: Tensor, captions: Sequence[str], canvas: Tensor | None
    ) -> Tensor:
        """The clean views that the prior sees in x_t beside a canvas, or beside its own, [B, C, h, w]."""
        text = self.prior.condition(list(captions)).text
        told = Condition(text, view_vector(batch.cameras, batch.lights).to(x_t))
        return self.prior.denoise(x_t, t, told, canvas).clean

    @torch.no_grad()
    def gate(self, count: int = 48) -> dict[str, dict[str, float]]:
        """Squared errors of the denoised picture with the running average before the prior, on pairs that training
        never sees, by noise level.

        Returns:
            {"0.5": {...}, ...}: "right", told rightly; the azimuth of the camera a quarter or half a turn wrong;
            "other picture", another toy's; "no picture", the prior alone; "no text"; and "given", of the given picture
            itself, which knows nothing of the camera.
        """
        batch = make_view_pairs(_HELD, 0, count, self.prior.resolution)
        x0 = self.prior.encode(batch.asked.to(self.device))
        noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0)).to(x0)
        silent = [""] * count
        ways: dict[str, tuple[ViewPairs, Sequence[str], bool]] = {
            "right": (batch, batch.captions, True),
            "azimuth + 90": (turned(batch, 90), batch.captions, True),
            "azimuth + 180": (turned(batch, 180), batch.captions, True),
            "other picture": (replace(batch, given=batch.given.roll(1, 0)), batch.captions, True),
            "no picture": (batch, batch.captions, False),
            "no text": (batch, silent, True),
        }
        table: dict[str, dict[str, float]] = {}
        for share in _SHARES:
            t = torch.full((count,), self.prior.schedule.fraction(share), device=self.device)
            x_t = self.prior.schedule.add_noise(x0, noise, t)
            row = table.setdefault(f"{share:g}", {})
            for name, (pairs, said, shown) in ways.items():
                canvas = self.painted(self.average, pairs, x_t, t, said) if shown else None
                clean = self.denoised(pairs, x_t, t, said, canvas)
                row[name] = round(float((clean - x0).square().mean()), 5)
        given = self.prior.encode(batch.given.to(self.device))
        table["given"] = {"right": round(float((given - x0).square().mean()), 5)}
        return table

    def save_model(self) -> None:
        """FOLDER/model, a novel-view prior: the running average, what a picture may show, and for which prior it is."""
        folder = self.folder / "model"
        folder.mkdir(exist_ok=True)
        captions = [f"{article(color)} {color} {kind}" for kind in CATEGORIES for color in COLORS]
        (folder / CAPTIONS).write_text(json.dumps({"captions": captions}) + "\n")
        (folder / PRIOR).write_text(json.dumps({"prior": self.model}) + "\n")
        save_attention(self.average, folder / ATTENTION)


def turned(batch: ViewPairs, degrees: float) -> ViewPairs:
    """The pairs, their cameras said to stand elsewhere."""
    c = batch.cameras
    wrong = Cameras.orbit(c.azimuth + math.radians(degrees), c.elevation, c.distance, c.fov, c.height)
    return replace(batch, cameras=wrong)


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
        model: the prior.
    """
    trainer = NovelViewTrainer(folder, settings, device, model)

    def pairs(start: int, stop: int) -> Iterable[ViewPairs]:
        seed = _SEED + 1000 * settings.seed
        return view_pair_stream(seed, start, stop, settings.batch, trainer.prior.resolution, settings.workers)

    train_on(trainer, pairs, "view_gate", resume, save_minutes)


def main(argv: list[str] | None = None) -> None:
    defaults = NovelViewSettings()
    parser = training_parser("train-novel-view", __doc__, defaults, "pairs")
    parser.add_argument("--whole", action="store_true", help="learn by the prior's own loss, through its UNet")
    args = parsed(parser, argv)
    settings = NovelViewSettings(
        pictures=args.pictures, batch=args.batch, lr=args.lr, whole=args.whole, seed=args.seed, workers=args.workers
    )
    train_novel_view(args.out, settings, args.device, args.resume, args.save_minutes, args.model)


if __name__ == "__main__":
    main()
