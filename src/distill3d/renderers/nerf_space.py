"""The space that a radiance field fills: the unit ball, or all of it, contracted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor

from distill3d.core.component import Config
from distill3d.kernels.marching import march
from distill3d.kernels.marching_unbounded import RayPath, contract, march_unbounded, t_of_s, uncontract


class SpaceConfig(Config):
    """ball: an object inside the unit ball, nothing outside. contracted: an unbounded scene whose middle is the unit
    ball (Mip-NeRF 360); samples are `step` apart up to the distance `even_until` from the camera and grow in
    proportion to the distance from there on, between `near` and `far`, world units."""

    kind: Literal["ball", "contracted"] = "ball"
    near: float = Field(0.05, gt=0)
    far: float = Field(100.0, gt=0, le=1e5)
    even_until: float = Field(1.0, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> SpaceConfig:
        if self.near >= self.far:
            raise ValueError("near must be less than far")
        return self


class FieldSamples(NamedTuple):
    """Where to evaluate the field on R rays, front to back.

    positions [N, 3] in 0..1, as the hash grid wants them; t [N], the coordinate along the ray that compositing works
    in; stretch [N], world units per unit of it (None where that is 1); offsets [R + 1].
    """

    positions: Tensor
    t: Tensor
    stretch: Tensor | None
    offsets: Tensor


def joined(parts: Sequence[tuple[Tensor, FieldSamples]]) -> FieldSamples:
    """Samples of some of R rays and of the others, as one. parts: which rays each has, [R] bool, and their samples."""
    counts = torch.zeros_like(parts[0][0], dtype=torch.long)
    for rays, at in parts:
        counts[rays] = at.offsets.long().diff()
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    order = []
    for rays, at in parts:
        first = offsets[:-1][rays] - at.offsets[:-1].long()
        order.append(torch.arange(len(at.t), device=first.device) + first.repeat_interleave(counts[rays]))
    back = torch.cat(order).argsort()

    def one(columns: list[Tensor]) -> Tensor:
        return torch.cat(columns)[back]

    samples = [at for _, at in parts]
    stretches = [at.stretch for at in samples if at.stretch is not None]
    positions, t = one([at.positions for at in samples]), one([at.t for at in samples])
    return FieldSamples(positions, t, one(stretches) if stretches else None, offsets.to(samples[0].offsets.dtype))


class Ball:
    """The unit ball; the coordinate along a ray is the distance itself."""

    hides = False  # whether most samples lie behind surfaces: not in a small object

    def __init__(self, config: SpaceConfig, step: float) -> None:
        self.step = step

    def samples(self, origins: Tensor, directions: Tensor, distance: Tensor, jitter: Tensor | None) -> FieldSamples:
        """Those in occupied cells, by the `distance` of an occupancy grid."""
        found = march(origins, directions, distance, self.step, jitter)
        return FieldSamples(found.positions, found.t, None, found.offsets)

    def distance(self, t: Tensor) -> Tensor:
        """World distance of the coordinate along the ray."""
        return t

    def positions(self, points: Tensor) -> Tensor:
        """World points [N, 3] as the hash grid wants them, 0..1."""
        return points * 0.5 + 0.5

    def of_cells(self, points: Tensor) -> tuple[Tensor, Tensor | float]:
        """Positions of points of the occupancy grid's cube [-1, 1]^3, and the stretch of samples there."""
        return self.positions(points), 1.0


class Contracted:
    """All of space in the ball of radius 2; the coordinate along a ray grows with the logarithm of the distance."""

    hides = True

    def __init__(self, config: SpaceConfig, step: float) -> None:
        self.step = step
        self.path = RayPath(step, config.even_until, config.near, config.far)

    def samples(self, origins: Tensor, directions: Tensor, distance: Tensor, jitter: Tensor | None) -> FieldSamples:
        """See `Ball.samples`."""
        found = march_unbounded(origins, directions, distance, self.path, jitter)
        return FieldSamples(found.positions, found.s, found.stretch, found.offsets)

    def distance(self, t: Tensor) -> Tensor:
        return t_of_s(t, self.path.t0)

    def positions(self, points: Tensor) -> Tensor:
        return contract(points) * 0.25 + 0.5

    def of_cells(self, points: Tensor) -> tuple[Tensor, Tensor | float]:
        """As for the ball. The cameras stand near the middle, so the distance from there stands for that from them."""
        contracted = points * 2
        away = uncontract(contracted).norm(dim=-1).clamp(max=self.path.far)
        return contracted * 0.25 + 0.5, (away / self.path.t0).clamp(min=1)


def build_space(config: SpaceConfig, step: float) -> Ball | Contracted:
    """The space that a section names."""
    return Ball(config, step) if config.kind == "ball" else Contracted(config, step)


def chunked_rows(count: int, rows: int) -> list[slice]:
    """Slices of at most `rows`, so that memory stays bounded where no gradient is kept."""
    return [slice(start, min(start + rows, count)) for start in range(0, count, rows)] or [slice(0, 0)]


def evenly(generator: torch.Generator, count: int, device: torch.device) -> Tensor:
    """[count] in [0, 1)."""
    return torch.rand(count, generator=generator, device=generator.device).to(device)
