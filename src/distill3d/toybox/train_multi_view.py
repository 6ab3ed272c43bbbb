"""Train the embedded prior's views to see each other: `distill3d toybox train-multi-view`. Seeded and resumable.

The prior stands still; attention over the views of a toy (`diffusion.joint_canvas`) learns from groups of four at one
noise level, cameras told (MVDream, Shi et al. 2024, section 3.2), to paint the mean picture that fits them all. It does
so by plain regression, as the prior's canvas was learnt, at sixty pictures a second on one thread; with `--whole` by
the prior's own loss, through its UNet, at ten. In most groups the caption leaves the colour open, or says nothing: what
the text does not say, one view can only know from the others.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.diffusion.aliases import TOYBOX
from distill3d.diffusion.condition import pooled
from distill3d.diffusion.joint_attention import see_together
from distill3d.diffusion.joint_canvas import JointCanvas, save_attention
from distill3d.diffusion.multi_view import MultiViewPrior
from distill3d.toybox.averaged_training import AveragedTraining
from distill3d.toybox.training_command import parsed, training_parser
from distill3d.toybox.training_loop import train_on
from distill3d.toybox.view_groups import GroupBatch, group_stream, make_groups

ATTENTION = "attention.safetensors"
_SEED = 51  # of the stream of groups; the prior's own were 0 and 11, its other models' 21 to 41
_HELD = 10_500  # seed of the groups that training never sees
_SHARES = (0.5, 0.7, 0.9, 0.97)  # noise levels of the gate, as shares of the schedule


@dataclass(frozen=True)
class MultiViewSettings:
    """How long and how fast; `pictures` is the budget that the learning rate falls over."""

    pictures: int = 64_000
    batch: int = 32  # pictures, whole groups
    together: int = 4  # pictures of a group
    lr: float = 1e-3
    warmup: int = 50  # steps
    decay_from: float = 0.5  # share of the budget after which the learning rate falls linearly to 2 % of itself
    weight_decay: float = 0.01
    ema: float = 0.995  # a step
    drop_text: float = 0.2
    drop_color: float = 0.4
    high_noise: float = 0.3  # t = T u^high_noise with u uniform, as for the prior
    least_variance: float = 0.1  # sigma^2 below which the weight of the loss, 1 / sigma^2, grows no more
    whole: bool = False  # the prior's loss, through its UNet
    seed: int = 0
    workers: int = 0


class MultiViewTrainer(AveragedTraining[JointCanvas]):
    """The attention that learns, before the prior, which stands still."""

    name: ClassVar[str] = "attention"

    def __init__(self, folder: Path, settings: MultiViewSettings, device: str, model: str = TOYBOX) -> None:
        config = MultiViewPrior.Config(model=model, dtype="float32", views=settings.together, attention="none")
        self.prior = MultiViewPrior(config, device)
        if self.prior.canvas is None or self.prior.sees_image:
            raise UserError(f"{model} is no prior of the toybox")
        see_together(self.prior.unet, 1)
        self.prior.unet.to(memory_format=torch.channels_last)
        torch.manual_seed(settings.seed)
        canvas = self.prior.canvas.config
        self.attention = JointCanvas(canvas.labels, canvas.channels).to(device)
        super().__init__(folder, settings, device, self.attention, copy.deepcopy(self.attention))

    def errors(
        self,
        attention: JointCanvas | None,
        batch: GroupBatch,
        captions: list[str],
        t: Tensor,
        noise: Tensor,
        weigh: bool = True,
        together: int | None = None,
    ) -> Tensor:
        """Each picture's squared error of the clean picture with `attention` in the prior, [B].

        Args:
            captions: of the pictures, [B]. t: [B].
            weigh: over max(sigma^2, least_variance), so that it is the velocity's.
            together: how many pictures see each other; those of a group by default.
        """
        prior = self.prior
        prior.joint_canvas, prior.together = attention, together or batch.together
        x0 = prior.encode(batch.pictures.to(self.device)).contiguous(memory_format=torch.channels_last)
        alpha, sigma = prior.schedule.at(t, x0)
        condition = replace(prior.condition(captions), view=batch.views.to(self.device), unconditional=None)
        clean = prior.denoise(alpha * x0 + sigma * noise.to(x0), t, condition).clean
        error = (clean - x0).square()
        if weigh:
            error = error / sigma.square().clamp(min=self.settings.least_variance)
        return error.flatten(1).mean(1)

    def painted(self, batch: GroupBatch, captions: list[str], t: Tensor, noise: Tensor) -> Tensor:
        """Each picture's squared error of the canvas that learns, [B], without the UNet."""
        prior = self.prior
        x0 = prior.encode(batch.pictures.to(self.device))
        alpha, sigma = prior.schedule.at(t, x0)
        with torch.no_grad():
            labels = torch.cat([batch.views.to(self.device), pooled(prior.condition(captions).text)], -1)
            canvas = prior.canvas(labels)
        joint = self.attention(alpha * x0 + sigma * noise.to(x0), canvas, labels, alpha, sigma, batch.together)
        return (joint - x0).square().flatten(1).mean(1)

    def loss(self, batch: GroupBatch) -> Tensor:
        """Each picture's loss, [B], at this step's times, noise and dropped words; a group has one of each."""
        settings, groups = self.settings, len(batch.captions)
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + self.step)
        t = (len(self.prior.schedule) * torch.rand(groups, generator=generator) ** settings.high_noise).long()
        t = t.repeat_interleave(batch.together).to(self.device)
        noise = torch.randn(self.prior.x_shape(len(batch.pictures)), generator=generator)
        said = told(batch, torch.rand(groups, generator=generator), settings)
        if settings.whole:
            return self.errors(self.attention, batch, said, t, noise)
        return self.painted(batch, said, t, noise)

    @torch.no_grad()
    def gate(self, orbits: int = 2, count: int = 4) -> dict[str, dict[str, float]]:
        """Squared errors of the clean picture on toys that training never sees, by noise level.

        Args:
            orbits: how many sets of cameras. count: groups of each; among them pictures can change places.
        Returns:
            {"0.5": {...}, ...}: "joint", of the running average; "others", its own where the other views of a group
            show other toys, from the cameras that it expects; "alone", where a view sees itself only; "separate", of
            the prior as it was. "open joint" and so on: with captions that leave the colour open.
        """
        together = self.settings.together
        size, own = self.prior.resolution, torch.arange(count * together)
        mixed = mixing(count, together)
        ways = (
            ("joint", self.average, own, together),
            ("others", self.average, mixed, together),
            ("alone", self.average, own, 1),
            ("separate", None, own, 1),
        )
        table: dict[str, dict[str, float]] = {}
        for share, orbit in product(_SHARES, range(orbits)):
            batch = make_groups(_HELD, orbit, count, size, together, one_orbit=True)
            noise = torch.randn(self.prior.x_shape(len(own)), generator=torch.Generator().manual_seed(orbit))
            t = torch.full((len(own),), self.prior.schedule.fraction(share), device=self.device)
            row = table.setdefault(f"{share:g}", {})
            for prefix, captions in (("", batch.captions), ("open ", batch.open_captions)):
                said = [caption for caption in captions for _ in range(together)]
                for name, attention, order, views in ways:
                    shown = replace(batch, pictures=batch.pictures[order])
                    texts = [said[i] for i in order.tolist()]
                    error = self.errors(attention, shown, texts, t, noise[order], False, views).mean()
                    row[prefix + name] = row.get(prefix + name, 0.0) + float(error) / orbits
        return {share: {name: round(error, 5) for name, error in row.items()} for share, row in table.items()}

    def save_model(self) -> None:
        """FOLDER/attention.safetensors, the running average, for `prior.attention`."""
        save_attention(self.average, self.folder / ATTENTION)


def told(batch: GroupBatch, chance: Tensor, settings: MultiViewSettings) -> list[str]:
    """What is said of each picture, [B]: of a group nothing, what leaves the colour open, or its caption.

    Args:
        chance: [G], uniform in 0..1.
    """
    said = []
    for c, caption, open_caption in zip(chance.tolist(), batch.captions, batch.open_captions, strict=True):
        left = "" if c < settings.drop_text else open_caption
        text = left if c < settings.drop_text + settings.drop_color else caption
        said += [text] * batch.together
    return said


def mixing(count: int, together: int) -> Tensor:
    """Where the pictures of mixed groups come from, [count together]: view k of group g from group g + k."""
    group, view = torch.arange(count)[:, None], torch.arange(together)
    return ((group + view) % count * together + view).flatten()


def train_multi_view(
    folder: Path,
    settings: MultiViewSettings,
    device: str,
    resume: bool,
    save_minutes: float,
    model: str = TOYBOX,
) -> None:
    """Train until `settings.pictures` have been seen; log to FOLDER/log.jsonl, save every `save_minutes`.

    Args:
        resume: go on from the last save in `folder`.
        model: the prior.
    """
    trainer = MultiViewTrainer(folder, settings, device, model)

    def groups(start: int, stop: int) -> Iterable[GroupBatch]:
        seed, count, together = _SEED + 1000 * settings.seed, settings.batch // settings.together, settings.together
        return group_stream(seed, start, stop, count, trainer.prior.resolution, together, settings.workers)

    train_on(trainer, groups, "view_gate", resume, save_minutes)


def main(argv: list[str] | None = None) -> None:
    defaults = MultiViewSettings()
    parser = training_parser("train-multi-view", __doc__, defaults)
    parser.add_argument("--views", type=int, default=defaults.together, help="pictures of a group; a batch is groups")
    parser.add_argument("--whole", action="store_true", help="learn by the prior's own loss, through its UNet")
    args = parsed(parser, argv)
    if args.views < 2:
        raise UserError(f"--views is at least 2 (got {args.views})")
    if args.batch % args.views:
        raise UserError(f"--batch is a multiple of --views, {args.views} (got {args.batch})")
    settings = MultiViewSettings(
        pictures=args.pictures, batch=args.batch, together=args.views, lr=args.lr, whole=args.whole, seed=args.seed,
        workers=args.workers,
    )  # fmt: skip
    train_multi_view(args.out, settings, args.device, args.resume, args.save_minutes, args.model)


if __name__ == "__main__":
    main()
