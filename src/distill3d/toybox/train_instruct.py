"""Train the embedded instruction model, a miniature InstructPix2Pix: `distill3d toybox train-instruct`. Resumable.

It begins as the embedded prior. The UNet's first layer gets channels for the picture to edit with weights of zero, and
the tokenizer the words of instructions (Brooks et al. 2023, section 3.2); UNet, canvas and text encoder then learn the
edited picture by the loss that the prior was trained with. Text, picture, and both are dropped in a share each of the
pictures, so that guidance has its branches.

One thing differs from the paper: where the text alone is dropped, the picture to make is the one that was given. So no
instruction asks for no change, and guidance by text, e(I, T) - e(I, 0), is the change alone. In the paper's data that
branch is the mean of all edits of a picture, which over twelve colours is grey.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.diffusion.aliases import TOYBOX
from distill3d.diffusion.folder import check_network, load_network, local
from distill3d.diffusion.patches import PatchCodec
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.toybox.averaged_training import AveragedTraining
from distill3d.toybox.captions import VOCABULARY
from distill3d.toybox.edit_pairs import PairBatch, make_pairs, pair_stream
from distill3d.toybox.instructions import words
from distill3d.toybox.model import (
    END,
    PAD,
    UNKNOWN,
    Denoiser,
    Shape,
    make_scheduler,
    make_tokenizer,
    read_shape,
    save_folder,
    tokenize,
)
from distill3d.toybox.training_command import parsed, training_parser
from distill3d.toybox.training_loop import train_on

_SEED = 41  # of the stream of pairs; the prior's own were 0 and 11, its ControlNets' 21 and 22
_HELD = 10_400  # seed of the pairs that training never sees


@dataclass(frozen=True)
class InstructSettings:
    """How long and how fast; `pictures` is the budget of pairs that the learning rate falls over."""

    pictures: int = 16_000
    batch: int = 16
    lr: float = 1e-3
    warmup: int = 50  # steps
    decay_from: float = 0.5  # share of the budget after which the learning rate falls linearly to 2 % of itself
    weight_decay: float = 0.01
    ema: float = 0.99  # a step
    drop_text: float = 0.05  # the text alone
    drop_picture: float = 0.05  # the picture alone
    drop_both: float = 0.05
    drop_camera: float = 0.4
    high_noise: float = 0.4  # t = T u^high_noise with u uniform, as for the prior
    least_variance: float = 0.1  # sigma^2 below which the weight of the loss, 1 / sigma^2, grows no more
    canvas_weight: float = 0.2  # of the squared error of the mean picture
    seed: int = 0
    workers: int = 0


def begin(folder: Path) -> tuple[Shape, Denoiser]:
    """The prior in `folder` with more words and with channels for a picture that it does not yet listen to.

    Raises:
        UserError: the folder holds no embedded prior, or one of another shape.
    """
    shape = read_shape(folder)
    if shape.sees_picture:
        raise UserError(f"{folder} sees a picture already: begin with the prior, or go on with --resume")
    shape = replace(shape, sees_picture=True)
    denoiser = Denoiser(shape, len(VOCABULARY) + 3 + len(words()))
    own = {"unet": "UNet2DConditionModel", "canvas": "Canvas", "text": "CLIPTextModel"}
    state = denoiser.state_dict()
    for part, class_name in own.items():
        name = "text_encoder" if part == "text" else part
        check_network(folder / name, class_name)
        for key, value in load_network(folder, name, class_name, torch.float32).state_dict().items():
            mine = state[f"{part}.{key}"]
            if key == "conv_in.weight":  # noisy picture and canvas; what is beside them comes last
                mine.zero_()
                mine[:, : value.shape[1]] = value
            elif key.endswith("token_embedding.weight"):
                mine[: len(value)] = value
            elif mine.shape == value.shape:
                mine.copy_(value)
            else:
                raise UserError(f"{folder / name} does not fit its own config: {key} has another shape")
    denoiser.load_state_dict(state)
    return shape, denoiser


class InstructTrainer(AveragedTraining[Denoiser]):
    """UNet, canvas and text encoder, all of which learn."""

    name: ClassVar[str] = "denoiser"

    def __init__(self, folder: Path, settings: InstructSettings, device: str, model: str = TOYBOX) -> None:
        torch.manual_seed(settings.seed)  # the vectors of the new words begin at random
        start = local(model)
        if start is None:
            raise UserError(f"{model} is neither toybox nor a folder that `toybox train` made")
        self.shape, self.denoiser = begin(start)
        self.tokenizer = make_tokenizer(self.shape.tokens, (PAD, UNKNOWN, END, *VOCABULARY, *words()))
        average = Denoiser(self.shape, len(self.tokenizer))
        average.load_state_dict(self.denoiser.state_dict())
        for network in (self.denoiser, average):
            network.to(device)
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(folder, settings, device, self.denoiser, average)
        self.schedule = NoiseSchedule.from_config(make_scheduler().config)
        self.codec = PatchCodec(self.shape.patch, 4, 0.5)

    def errors(
        self,
        network: Denoiser,
        batch: PairBatch,
        t: Tensor,
        noise: Tensor,
        weigh: bool = True,
        seen: Tensor | None = None,
    ) -> Tensor:
        """Each pair's squared error of the clean picture after, [B].

        Args:
            weigh: over max(sigma^2, least_variance), so that it is the velocity's, and with the canvas's own.
            seen: [B, 1], 0 where the picture to edit is not shown; all are by default.
        """
        x0, beside = (self._encode(p) for p in (batch.after, batch.before))
        if seen is not None:
            beside = beside * seen.to(beside)[..., None, None]
        alpha, sigma = self.schedule.at(t, x0)
        tokens = tokenize(self.tokenizer, batch.instructions).to(self.device)
        x_t = alpha * x0 + sigma * noise.to(x0)
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.startswith("cuda")):
            clean, mean = network(x_t, t.to(self.device), tokens, batch.views.to(self.device), beside)
        error = (clean.float() - x0).square()
        if weigh:
            error = error / sigma.square().clamp(min=self.settings.least_variance)
            error = error + self.settings.canvas_weight * (mean.float() - x0).square()
        return error.flatten(1).mean(1)

    def loss(self, batch: PairBatch) -> Tensor:
        """Each pair's loss, [B], at this step's times, noise and what is dropped."""
        settings, count = self.settings, len(batch.instructions)
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + self.step)
        t = (len(self.schedule) * torch.rand(count, generator=generator) ** settings.high_noise).long()
        noise = torch.randn(self._encode(batch.after).shape, generator=generator)
        told, seen = dropped(batch, torch.rand(count, generator=generator), settings)
        views = batch.views * (torch.rand(count, 1, generator=generator) >= settings.drop_camera)
        return self.errors(self.denoiser, replace(told, views=views), t, noise, seen=seen)

    @torch.no_grad()
    def gate(self, count: int = 32, share: float = 0.9) -> dict[str, float]:
        """The average's squared error of the clean picture after, at one noise level, on pairs that training never
        sees: told rightly, with another pair's instruction, without one, and without the picture."""
        batch = make_pairs(_HELD, 0, count, self.shape.size)
        noise = torch.randn(self._encode(batch.after).shape, generator=torch.Generator().manual_seed(0))
        t = torch.full((count,), self.schedule.fraction(share), device=self.device)
        others = batch.instructions[1:] + batch.instructions[:1]
        told = {
            "right": (batch, None),
            "wrong": (replace(batch, instructions=others), None),
            "none": (replace(batch, instructions=[""] * count), None),
            "no_picture": (batch, torch.zeros(count, 1)),
        }
        return {
            name: round(float(self.errors(self.average, pairs, t, noise, False, seen).mean()), 5)
            for name, (pairs, seen) in told.items()
        }

    def save_model(self) -> None:
        """FOLDER/prior, which samples with the running average."""
        save_folder(self.folder / "prior", self.shape, self.average, self.tokenizer)

    def _encode(self, pictures: Tensor) -> Tensor:
        return self.codec.encode(pictures.to(self.device)).contiguous(memory_format=torch.channels_last)


def dropped(batch: PairBatch, chance: Tensor, settings: InstructSettings) -> tuple[PairBatch, Tensor]:
    """The pairs with text, picture or both dropped, and which pictures are still seen, [B, 1].

    Args:
        chance: [B], uniform in 0..1.
    """
    first = settings.drop_text
    second = first + settings.drop_picture
    third = second + settings.drop_both
    no_text = (chance < first) | ((chance >= second) & (chance < third))
    unseen = (chance >= first) & (chance < third)
    said = ["" if quiet else text for quiet, text in zip(no_text.tolist(), batch.instructions, strict=True)]
    alone = (no_text & ~unseen).view(-1, 1, 1, 1)  # without an instruction, the picture stays what it is
    after = torch.where(alone, batch.before, batch.after)
    return replace(batch, instructions=said, after=after), (~unseen).float()[:, None]


def train_instruct(
    folder: Path,
    settings: InstructSettings,
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
    trainer = InstructTrainer(folder, settings, device, model)

    def pairs(start: int, stop: int) -> Iterable[PairBatch]:
        seed = _SEED + 1000 * settings.seed
        return pair_stream(seed, start, stop, settings.batch, trainer.shape.size, settings.workers)

    train_on(trainer, pairs, "instruction_gate", resume, save_minutes)


def main(argv: list[str] | None = None) -> None:
    defaults = InstructSettings()
    parser = training_parser("train-instruct", __doc__, defaults, "pairs")
    parser.add_argument("--high-noise", type=float, default=defaults.high_noise, help="below 1 favours high noise")
    args = parsed(parser, argv, ["high_noise"])
    settings = InstructSettings(
        pictures=args.pictures, batch=args.batch, lr=args.lr, high_noise=args.high_noise, seed=args.seed,
        workers=args.workers,
    )  # fmt: skip
    train_instruct(args.out, settings, args.device, args.resume, args.save_minutes, args.model)


if __name__ == "__main__":
    main()
