"""Density control: how many Gaussians there are, and where, while they are optimised.

adaptive (3D Gaussian Splatting, Kerbl et al. 2023, section 5.2): Gaussians that the pictures pull at are cloned where
small and split where large; faint ones are removed; opacities are pressed down now and then so that only what is needed
grows again. mcmc (3DGS as Markov chain Monte Carlo, Kheradmand et al. 2024): faint ones move to where opaque ones are,
the number grows to a limit, and faint ones wander with noise.

Every change is one gathering of rows: a row of the new table is a row of the old one, and with it go its moments in the
optimizer, unless it is fresh; values are changed afterwards. What is counted between the changes lives in buffers and
is filled in the backward pass, so a resumed run goes on with the same bits.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from distill3d.core.component import Config
from distill3d.kernels.splatting_torch import rotation_of

SPLIT_SHRINK = 1.6  # what a split divides the size by
MOST_COPIES = 50  # of one Gaussian in one relocation


class DensityConfig(Config):
    """`kind`: none, adaptive or mcmc, every `every` steps from `start` to before `stop`, up to `most` Gaussians.

    adaptive: `grow_gradient` is the mean length of a view's gradient of the screen position, in half widths of the
    picture, from which a Gaussian is too coarse; `grow_size` (world units) parts clones from splits; Gaussians below
    `least_opacity` go, and those larger than `largest` (world units) once opacities were reset, every `reset_every`
    steps (0: never). mcmc: those below `least_opacity` move, the number grows by `growth`, and `noise` times the
    learning rate of the positions is the strength of the wandering.
    """

    kind: Literal["none", "adaptive", "mcmc"] = "none"
    every: int = Field(100, ge=1)
    start: int = Field(500, ge=0)
    stop: int = Field(15_000, ge=0)
    most: int = Field(200_000, ge=1, le=10_000_000)
    grow_gradient: float = Field(2e-4, gt=0)
    grow_size: float = Field(0.01, gt=0)
    largest: float = Field(0.1, gt=0)
    least_opacity: float = Field(0.005, gt=0, lt=0.5)
    reset_every: int = Field(3000, ge=0)
    growth: float = Field(0.05, ge=0, le=1)
    noise: float = Field(5e5, ge=0)


class DensityControl(nn.Module):
    """The rules, and what they count.

    Args:
        table: owns the parameters by name: means, quats, log_scales, logits and whatever else has a row for each.
    """

    pull: Tensor  # [N] summed lengths of the screen gradients
    views: Tensor  # [N] how many views these came from

    def __init__(self, config: DensityConfig, count: int) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("pull", torch.zeros(count))
        self.register_buffer("views", torch.zeros(count))

    @property
    def watches(self) -> bool:
        return self.config.kind == "adaptive"

    def watch(self, screen: Tensor, radius: Tensor, height: int, width: int) -> None:
        """Counts the gradient that `screen` [B, N, 2] will get; `radius` [B, N] says who is seen."""
        batch = len(screen)
        half = torch.tensor([0.5 * width, 0.5 * height], device=screen.device) * batch

        def count(gradient: Tensor) -> None:
            seen = (radius > 0).float()
            with torch.no_grad():
                self.pull += ((gradient * half).norm(dim=-1) * seen).sum(0)
                self.views += seen.sum(0)

        screen.register_hook(count)

    def forget(self, count: int) -> None:
        """Begins to count anew, for `count` Gaussians."""
        self.pull, self.views = self.pull.new_zeros(count), self.views.new_zeros(count)

    def advance(
        self, table: nn.Module, names: tuple[str, ...], step: int, optimizer: torch.optim.Optimizer | None,
        generator: torch.Generator,
    ) -> None:  # fmt: skip
        """What is due before step `step`. `names` are the parameters of `table` that have a row for each Gaussian."""
        config = self.config
        if config.kind == "none":
            return
        rows = Rows(table, names, optimizer)
        due = config.start <= step < config.stop and step % config.every == 0 and step > 0
        if config.kind == "mcmc":
            if due:
                relocate(rows, config, generator)
                self.forget(rows.count)
            wander(rows, config, generator)
            return
        if due:
            grow(rows, config, self.pull / self.views.clamp(min=1), generator)
            prune(rows, config, bool(config.reset_every) and step > config.reset_every)
            self.forget(rows.count)
        if config.reset_every and step and step % config.reset_every == 0 and step < config.stop:
            reset_opacities(rows, 2 * config.least_opacity)


class Rows:
    """The table of parameters, of which rows are gathered, together with the optimizer's moments."""

    def __init__(self, table: nn.Module, names: tuple[str, ...], optimizer: torch.optim.Optimizer | None) -> None:
        self.table, self.names, self.optimizer = table, names, optimizer

    @property
    def count(self) -> int:
        return len(self["means"])

    def __getitem__(self, name: str) -> Tensor:
        return getattr(self.table, name).detach()

    def take(self, rows: Tensor, fresh: Tensor) -> None:
        """Row i of the new table is row `rows[i]` of the old; where `fresh` [len(rows)] its moments are zero."""
        for name in self.names:
            old: nn.Parameter = getattr(self.table, name)
            new = nn.Parameter(old.detach()[rows], requires_grad=old.requires_grad)
            setattr(self.table, name, new)
            self._move_moments(old, new, rows, fresh)

    def forget_moments(self, name: str, rows: Tensor | slice) -> None:
        state = self.optimizer.state.get(getattr(self.table, name), {}) if self.optimizer else {}
        for value in state.values():
            if isinstance(value, Tensor) and value.dim():
                value[rows] = 0

    def _move_moments(self, old: nn.Parameter, new: nn.Parameter, rows: Tensor, fresh: Tensor) -> None:
        if self.optimizer is None:
            return
        for group in self.optimizer.param_groups:
            group["params"] = [new if p is old else p for p in group["params"]]
        if old not in self.optimizer.state:
            return
        state = self.optimizer.state.pop(old)
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == old.shape:
                state[key] = value[rows]
                state[key][fresh] = 0
        self.optimizer.state[new] = state

    def learning_rate(self, name: str) -> float:
        wanted = getattr(self.table, name)
        groups = self.optimizer.param_groups if self.optimizer else []
        return next((float(g["lr"]) for g in groups if any(p is wanted for p in g["params"])), 0.0)


@torch.no_grad()
def grow(rows: Rows, config: DensityConfig, pull: Tensor, generator: torch.Generator) -> tuple[int, int]:
    """Clones and splits what is pulled at; the strongest first where `most` does not leave room for all.

    Returns:
        how many were cloned and split.
    """
    count = rows.count
    high = pull > config.grow_gradient
    room = max(config.most - count, 0)  # a clone and a split add one each
    if int(high.sum()) > room:
        high = torch.zeros_like(high)
        high[torch.argsort(pull, descending=True, stable=True)[:room]] = True
        high &= pull > config.grow_gradient
    large = rows["log_scales"].amax(1).exp() > config.grow_size
    clones, splits = (high & ~large).nonzero()[:, 0], (high & large).nonzero()[:, 0]
    kept = (~(high & large)).nonzero()[:, 0]
    index = torch.cat([kept, clones, splits, splits])
    fresh = torch.arange(len(index), device=index.device) >= len(kept)
    rows.take(index, fresh)
    halves = slice(len(kept) + len(clones), None)
    scales = rows["log_scales"][halves].exp()
    offsets = normal(scales.shape, generator, scales) * scales
    rows["means"][halves] += (rotation_of(rows["quats"][halves]) @ offsets[..., None])[..., 0]
    rows["log_scales"][halves] -= math.log(SPLIT_SHRINK)
    return len(clones), len(splits)


@torch.no_grad()
def prune(rows: Rows, config: DensityConfig, also_large: bool) -> int:
    """Removes what is too faint, and with `also_large` too large; never the last one. Returns how many."""
    keep = torch.sigmoid(rows["logits"]) >= config.least_opacity
    if also_large:
        keep &= rows["log_scales"].amax(1).exp() <= config.largest
    if not keep.any():
        keep[rows["logits"].argmax()] = True
    index = keep.nonzero()[:, 0]
    removed = rows.count - len(index)
    if removed:
        rows.take(index, torch.zeros_like(index, dtype=torch.bool))
    return removed


@torch.no_grad()
def reset_opacities(rows: Rows, opacity: float) -> None:
    """No opacity stays above `opacity`; the optimizer forgets where they were going."""
    rows["logits"].clamp_(max=math.log(opacity / (1 - opacity)))
    rows.forget_moments("logits", slice(None))


@torch.no_grad()
def relocate(rows: Rows, config: DensityConfig, generator: torch.Generator) -> tuple[int, int]:
    """Moves faint Gaussians onto opaque ones, and adds new ones there, without changing what is seen (eqs. 8 and 9).

    Returns:
        how many were moved and added.
    """
    opacity = torch.sigmoid(rows["logits"])
    count = len(opacity)
    dead = (opacity <= config.least_opacity).nonzero()[:, 0]
    added = max(min(config.most, int((1 + config.growth) * count)) - count, 0)
    alive = opacity * (opacity > config.least_opacity)
    if not float(alive.sum()) > 0 or len(dead) + added == 0:
        return 0, 0
    drawn = torch.multinomial(alive.to(generator.device), len(dead) + added, replacement=True, generator=generator)
    drawn = drawn.to(dead.device)
    index = torch.arange(count, device=dead.device)
    index[dead] = drawn[: len(dead)]
    index = torch.cat([index, drawn[len(dead) :]])
    copies = torch.bincount(drawn, minlength=count) + 1
    shared = copies[index] > 1  # the drawn themselves, too: their opacity is shared out among the copies
    rows.take(index, shared)
    new_opacity, shrink = shared_out(opacity[index], copies[index].clamp(max=MOST_COPIES))
    new_opacity = new_opacity.clamp(config.least_opacity, 1 - 1e-6)
    rows["logits"][shared] = torch.logit(new_opacity)[shared]
    rows["log_scales"][shared] += shrink.log()[shared, None]
    return len(dead), added


def shared_out(opacity: Tensor, copies: Tensor) -> tuple[Tensor, Tensor]:
    """The opacity of each of `copies` equal Gaussians in one place that together look like one of `opacity`, and the
    factor on their size (Kheradmand et al. 2024, eq. 9). All [N]."""
    opacity = opacity.double()
    each = 1 - (1 - opacity) ** (1 / copies.double())
    total = torch.zeros_like(each)
    for i in range(1, int(copies.max()) + 1):
        inner = sum(math.comb(i - 1, k) * (-1) ** k / math.sqrt(k + 1) * each ** (k + 1) for k in range(i))
        total = total + torch.where(copies >= i, inner, 0.0)
    return each.float(), (opacity / total).float().clamp(1e-3, 1.0)


@torch.no_grad()
def wander(rows: Rows, config: DensityConfig, generator: torch.Generator) -> None:
    """Noise on the positions of what is nearly invisible, shaped like the Gaussians themselves."""
    strength = config.noise * rows.learning_rate("means")
    if not strength:
        return
    opacity = torch.sigmoid(rows["logits"])
    noise = normal(rows["means"].shape, generator, opacity)
    noise *= strength * torch.sigmoid(100 * ((1 - opacity) - 0.995))[:, None]
    spread = rotation_of(rows["quats"]) * rows["log_scales"].exp()[:, None]
    rows["means"].add_((spread @ (spread.transpose(1, 2) @ noise[..., None]))[..., 0])


def normal(shape: torch.Size, generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device).to(like)
