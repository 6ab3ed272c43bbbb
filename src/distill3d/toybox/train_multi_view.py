"""Teach the embedded prior to see several views together: `distill3d toybox train-multi-view`. Seeded, resumable.

All of the prior stays as it is but its self-attention, which becomes joint over the views of a toy (MVDream, Shi et
al. 2024) and is trained on from where it stands. So what is shipped is small, and with one view nothing is lost.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from distill3d.diffusion.joint_attention import see_together, self_attention
from distill3d.toybox.dataset import encode
from distill3d.toybox.model import Shape, tokenize
from distill3d.toybox.train import Settings, Trainer
from distill3d.toybox.training_state import falling_rate, load_state, log_row, save_state
from distill3d.toybox.view_groups import make_groups

SHARES = (0.5, 0.8, 0.95)  # noise levels of the report


@dataclass(frozen=True)
class MultiViewSettings:
    """`groups` is the budget that the learning rate falls over; each has `views` pictures."""

    groups: int = 8_000
    views: int = 4
    batch: int = 4  # groups a step
    lr: float = 1e-3
    warmup: int = 50  # steps
    decay_from: float = 0.4
    ema: float = 0.995  # a step
    drop_text: float = 0.1
    drop_camera: float = 0.05
    high_noise: float = 0.5  # t = T u^high_noise with u uniform
    least_variance: float = 0.1  # see `train.Settings`
    seed: int = 40

    @property
    def steps(self) -> int:
        return self.groups // self.batch


class JointWeights(nn.Module):
    """The self-attention of a network as a module of its own, for optimisers and files."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.names = list(self_attention(unet))
        self.weights = nn.ParameterList(self_attention(unet).values())

    def save(self, path: Path) -> None:
        """In half precision, by their names in the network."""
        path.parent.mkdir(parents=True, exist_ok=True)
        named = zip(self.names, self.weights, strict=True)
        save_file({name: weight.detach().half().contiguous() for name, weight in named}, path)


class MultiViewTrainer:
    """The embedded prior with its self-attention in training, and the running average of that.

    Args:
        prior: folder of the prior to begin with.
    """

    def __init__(self, prior: Path, settings: MultiViewSettings) -> None:
        self.settings, shape = settings, Shape()
        base = Trainer(prior, shape, Settings(seed=settings.seed), "cpu")
        base.start_from(prior)
        self.denoiser, self.tokenizer, self.codec = base.denoiser, base.tokenizer, base.codec
        self.size, self.schedule = shape.size, base.schedule
        self.denoiser.requires_grad_(False)
        self.weights = JointWeights(self.denoiser.unet).requires_grad_(True)
        self.average = JointWeights(base.average.unet)
        see_together(self.denoiser.unet, settings.views)
        self.optimizer = torch.optim.AdamW(self.weights.parameters(), settings.lr, (0.9, 0.98), weight_decay=0.01)
        self.step, self.seconds = 0, 0.0

    def advance(self) -> float:
        """One step of the optimiser and of the running average; the loss."""
        settings = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = settings.lr * falling_rate(self.step, settings.steps, settings.warmup, settings.decay_from)
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + self.step)
        batch = make_groups(settings.seed, self.step, settings.batch, settings.views, self.size)

        def once(*shape: int) -> Tensor:
            """A number for each toy, repeated for its views."""
            return torch.rand(settings.batch, *shape, generator=generator).repeat_interleave(settings.views, 0)

        t = (len(self.schedule) * once() ** settings.high_noise).long()
        silent = (once() < settings.drop_text).tolist()
        captions = ["" if drop else caption for drop, caption in zip(silent, batch.captions, strict=True)]
        views = batch.views * (once(1) >= settings.drop_camera)
        x0 = encode(batch, self.codec, "cpu")
        noise = torch.randn(x0.shape, generator=generator)
        _, sigma = self.schedule.at(t, x0)
        error = (self.clean(self.schedule.add_noise(x0, noise, t), t, captions, views) - x0).square()
        loss = (error / sigma.square().clamp(min=settings.least_variance)).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        keep = min(settings.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.weights.parameters()), 1 - keep)
        return float(loss.detach())

    def clean(self, x_t: Tensor, t: Tensor, captions: list[str], views: Tensor) -> Tensor:
        return self.denoiser(x_t, t, tokenize(self.tokenizer, captions), views)[0]

    def save(self, folder: Path) -> None:
        """What resuming needs, then FOLDER/attention.safetensors, the running average."""
        state = {"step": self.step, "seconds": self.seconds}
        save_state(folder, {"weights": self.weights, "average": self.average}, self.optimizer, state)
        self.average.save(folder / "attention.safetensors")

    def load(self, folder: Path) -> None:
        """Go on from the last `save`."""
        numbers = load_state(folder, {"weights": self.weights, "average": self.average}, self.optimizer)
        self.step, self.seconds = int(numbers["step"]), numbers["seconds"]


@torch.no_grad()
def view_losses(trainer: MultiViewTrainer, groups: int = 32, prior: Path | None = None) -> dict[str, dict[str, float]]:
    """Mean squared error of the clean picture on unseen toys, by noise level and by what a view sees beside itself.

    "together": the other views of its toy; "strangers": views of other toys, from the same cameras; "alone": nothing,
    with the self-attention that the prior came with.
    """
    views = trainer.settings.views
    batch = make_groups(20_000, 0, groups, views, trainer.size)
    x0 = encode(batch, trainer.codec, "cpu")
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    order = torch.arange(groups * views).view(groups, views)
    strange = torch.stack([order[:, v].roll(v) for v in range(views)], 1).reshape(-1)  # view v of the toy v before
    trained = [w.detach().clone() for w in trainer.weights.weights]
    table = {}
    for share in SHARES:
        t = torch.full((len(x0),), trainer.schedule.fraction(share))
        x_t = trainer.schedule.add_noise(x0, noise, t)

        def loss(which: Tensor, x_t: Tensor = x_t, t: Tensor = t) -> float:
            captions = [batch.captions[i] for i in which.tolist()]
            clean = torch.cat(
                [
                    trainer.clean(x_t[part], t[part], captions[k * 8 * views : (k + 1) * 8 * views], batch.views[part])
                    for k, part in enumerate(which.split(8 * views))
                ]
            )
            return float((clean - x0[which]).square().mean())

        _fill(trainer.weights, [w.detach() for w in trainer.average.weights])
        row = {"together": loss(order.reshape(-1)), "strangers": loss(strange)}
        if prior is not None:
            _fill(trainer.weights, _weights_of(prior))
            see_together(trainer.denoiser.unet, 1)
            row["alone"] = loss(order.reshape(-1))
            see_together(trainer.denoiser.unet, views)
        _fill(trainer.weights, trained)
        table[f"{share:g}"] = {name: round(value, 5) for name, value in row.items()}
    return table


def _fill(weights: JointWeights, values: list[Tensor]) -> None:
    for weight, value in zip(weights.weights, values, strict=True):
        weight.data.copy_(value)


def _weights_of(prior: Path) -> list[Tensor]:
    base = Trainer(prior, Shape(), Settings(), "cpu")
    base.start_from(prior)
    return [w.detach() for w in self_attention(base.denoiser.unet).values()]


def train(trainer: MultiViewTrainer, folder: Path, prior: Path, save_minutes: float) -> None:
    """Train until `settings.groups` have been seen; log to FOLDER/log.jsonl, save every `save_minutes`."""
    settings = trainer.settings
    begun, saved, losses = time.monotonic() - trainer.seconds, time.monotonic(), []
    while trainer.step < settings.steps:
        losses.append(trainer.advance())
        trainer.seconds = time.monotonic() - begun
        last = trainer.step == settings.steps
        if trainer.step % 50 == 0 or last:
            seen, loss = trainer.step * settings.batch, sum(losses) / len(losses)
            left = (settings.groups - seen) * trainer.seconds / seen / 60
            log_row(folder, {"groups": seen, "loss": round(loss, 5), "seconds": round(trainer.seconds)})
            print(f"{seen:>7} of {settings.groups} toys  loss {loss:.4f}  {left:.0f} min left", flush=True)
            losses = []
        if time.monotonic() - saved > 60 * save_minutes or last:
            trainer.save(folder)
            table = view_losses(trainer, prior=prior if last else None)
            log_row(folder, {"groups": trainer.step * settings.batch, "views": table})
            print(json.dumps(table), flush=True)
            saved = time.monotonic()


def main(argv: list[str] | None = None) -> None:
    defaults = MultiViewSettings()
    parser = argparse.ArgumentParser("distill3d toybox train-multi-view", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("outputs/toybox-multi-view"), help="folder for the training")
    parser.add_argument("--groups", type=int, default=defaults.groups, help="how many toys, of four views each")
    parser.add_argument("--batch", type=int, default=defaults.batch, help="toys a step")
    parser.add_argument("--lr", type=float, default=defaults.lr)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 is its own choice")
    parser.add_argument("--save-minutes", type=float, default=4.0)
    parser.add_argument("--start", type=Path, default=Path(__file__).parent / "weights", help="the prior to begin with")
    parser.add_argument("--resume", action="store_true", help="go on from the last state in --out")
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    settings = MultiViewSettings(args.groups, batch=args.batch, lr=args.lr, seed=args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    trainer = MultiViewTrainer(args.start, settings)
    if args.resume:
        trainer.load(args.out)
    log_row(args.out, {"settings": asdict(settings), "resumed_at": trainer.step})
    train(trainer, args.out, args.start, args.save_minutes)


if __name__ == "__main__":
    main()
