"""A part of space that an edit may change: a box or a ball (or cells, see `region_cells`)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from distill3d.core.errors import UserError

FORMS = "box:x0,y0,z0,x1,y1,z1 or sphere:x,y,z,radius"


@dataclass(frozen=True)
class Region:
    """A box with its sides along the axes, or a ball, in the coordinates of a file.

    Args:
        kind: box, sphere, or cells (`region_cells.CellRegion`, in a box). center: [3] float64. half: [3] float64, half
            the sides; of a ball three times its radius.
        to_file: [4, 4] float64, a similarity from the world that points are given in to the file's.
    """

    kind: Literal["box", "sphere", "cells"]
    center: Tensor
    half: Tensor
    to_file: Tensor

    @classmethod
    def parse(cls, text: str) -> Region:
        """`box:x0,y0,z0,x1,y1,z1`, two opposite corners, or `sphere:x,y,z,radius`; or what `CellRegion.text` wrote.

        Raises:
            UserError: it is none of these, or it has no volume.
        """
        if text.startswith("cells:"):
            from distill3d.geometry.region_cells import CellRegion  # which is a region too

            return CellRegion.read(text)
        kind, _, rest = text.partition(":")
        try:
            numbers = [float(word) for word in rest.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) != {"box": 6, "sphere": 4}.get(kind, -1) or not all(math.isfinite(v) for v in numbers):
            raise UserError(f"region {text!r} is not {FORMS}")
        values = torch.tensor(numbers, dtype=torch.float64)
        low, high = (values[:3], values[3:]) if kind == "box" else (values[:3] - values[3], values[:3] + values[3])
        if not bool((low < high).all()):
            raise UserError(f"region {text!r} has no volume: {FORMS}, the smaller corner first")
        eye = torch.eye(4, dtype=torch.float64)
        return cls("box" if kind == "box" else "sphere", 0.5 * (low + high), 0.5 * (high - low), eye)

    def seen_from(self, to_file: Tensor) -> Region:
        """The same region for points of another world, `to_file` [4, 4] away from the file's."""
        return replace(self, to_file=to_file.detach().cpu().double())

    def contains(self, points: Tensor) -> Tensor:
        """[N] bool for points [N, 3]; the border belongs to it."""
        return self.away(points) <= 0

    def away(self, points: Tensor) -> Tensor:
        """At most the distance of points [N, 3] to the region, in their own world, [N] float64; negative inside."""
        turn, shift, center, half = self._on(points)
        offset = points.double() @ turn.T + shift - center
        distance = offset.norm(dim=-1) - half[0] if self.kind == "sphere" else (offset.abs() - half).amax(-1)
        return distance / turn.det().abs() ** (1 / 3)

    def meets(self, origins: Tensor, directions: Tensor) -> Tensor:
        """Which rays go through it: origins and directions [N, 3] -> [N] bool."""
        turn, shift, center, half = self._on(origins)
        start, along = origins.double() @ turn.T + shift - center, directions.double() @ turn.T
        if self.kind == "sphere":
            nearest = (-(start * along).sum(-1) / along.square().sum(-1)).clamp(min=0)
            return (start + nearest[:, None] * along).norm(dim=-1) <= half[0]
        along = torch.where(along.abs() < 1e-12, torch.full_like(along, 1e-12), along)
        first, second = (-half - start) / along, (half - start) / along
        enter, leave = torch.minimum(first, second).amax(-1), torch.maximum(first, second).amin(-1)
        return leave >= enter.clamp(min=0)

    def _on(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        turn, shift = self.to_file[:3, :3], self.to_file[:3, 3]
        return tuple(part.to(points.device) for part in (turn, shift, self.center, self.half))  # type: ignore[return-value]
