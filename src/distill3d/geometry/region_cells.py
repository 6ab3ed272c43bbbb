"""A part of space of any shape that an edit may change: a set of small cubes."""

from __future__ import annotations

import base64
import binascii
import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.geometry.region import Region

PREFIX = "cells:"
MOST = 256  # cells along a side
_RAYS_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class CellRegion(Region):
    """Cubes of equal size on a grid along the axes of a file's coordinates.

    Args:
        center, half: of the grid, see `Region`.
        held: [X, Y, Z] bool, which cells belong to it; some do.
    """

    held: Tensor

    @classmethod
    def around(cls, points: Tensor, cell: float, radius: float = 0.0) -> CellRegion:
        """The cells that hold one of the points [N, 3], and those whose middle lies within `radius` of such a cell's.

        Args:
            points: in the file's coordinates, N at least 1. cell: the side of a cube. Both, and `radius`, in its units.
        Raises:
            UserError: the grid would have more than 256 cells along a side.
        """
        margin = int(np.ceil(radius / cell))
        index = torch.floor(points.double() / cell).long()
        low, high = index.amin(0) - margin, index.amax(0) + margin
        size = tuple((high - low + 1).tolist())
        if max(size) > MOST:
            raise UserError(f"a region of {' x '.join(map(str, size))} cells is too fine: {MOST} along a side at most")
        held = np.zeros(size, bool)
        held[tuple((index - low).T.numpy())] = True
        if margin:
            held = distance_transform_edt(~held) * cell <= radius + 1e-9 * cell
        corners = torch.stack([low, high + 1]).double() * cell
        return cls._of(0.5 * (corners[0] + corners[1]), cell, held)

    @classmethod
    def read(cls, text: str) -> CellRegion:
        """What `text()` wrote.

        Raises:
            UserError: it did not write this.
        """
        numbers, _, packed = text.removeprefix(PREFIX).partition(":")
        try:
            *middle, cell = (float(word) for word in numbers.split(",")[:4])
            size = tuple(int(word) for word in numbers.split(",")[4:])
            raw = zlib.decompressobj().decompress(base64.b64decode(packed, validate=True), MOST**3 // 8 + 1)
            if len(middle) != 3 or len(size) != 3 or not all(1 <= n <= MOST for n in size) or not 0 < cell < np.inf:
                raise ValueError("sizes")
            if len(raw) != -(-int(np.prod(size)) // 8):
                raise ValueError("length")
        except (ValueError, zlib.error, binascii.Error) as error:
            raise UserError(f"region {text[:40]!r}... is no set of cells that an edit wrote") from error
        held = np.unpackbits(np.frombuffer(raw, np.uint8), count=int(np.prod(size))).astype(bool).reshape(size)
        if not held.any():
            raise UserError(f"region {text[:40]!r}... holds no cell")
        return cls._of(torch.tensor(middle, dtype=torch.float64), cell, held)

    @classmethod
    def _of(cls, center: Tensor, cell: float, held: np.ndarray) -> CellRegion:
        half = 0.5 * cell * torch.tensor(held.shape, dtype=torch.float64)
        return cls("cells", center, half, torch.eye(4, dtype=torch.float64), torch.from_numpy(held))

    @property
    def cell(self) -> float:
        """The side of a cube, in the file's units."""
        return float(2 * self.half[0] / self.held.shape[0])

    def text(self) -> str:
        """One word from which `Region.parse` makes the same region: numbers, and the packed cells in base 64."""
        numbers = [repr(value) for value in (*self.center.tolist(), self.cell)] + [str(n) for n in self.held.shape]
        packed = base64.b64encode(zlib.compress(np.packbits(self.held.numpy()).tobytes(), 9)).decode()
        return f"{PREFIX}{','.join(numbers)}:{packed}"

    def contains(self, points: Tensor) -> Tensor:
        index, inside = self._index(points)
        return self.held.to(points.device)[index] & inside

    def away(self, points: Tensor) -> Tensor:
        """At most the distance of points [N, 3] to the region, in their own world, [N] float64; negative inside.

        From a cell's middle it is known exactly; anywhere in the cell, and to any point of the nearest one, it may be
        a cell's diagonal less.
        """
        index, _ = self._index(points)
        between = (self._steps.to(points.device)[index] - 3**0.5) * self.cell
        turn, *_ = self._on(points)
        near = between / turn.det().abs() ** (1 / 3)
        return torch.where(self.contains(points), -torch.ones_like(near), torch.maximum(near, super().away(points)))

    def meets(self, origins: Tensor, directions: Tensor) -> Tensor:
        """Which rays go through it: origins and directions [N, 3] -> [N] bool; every cell that a ray passes is met."""
        parts = zip(origins.split(_RAYS_AT_ONCE), directions.split(_RAYS_AT_ONCE), strict=True)
        return torch.cat([self._met(*part) for part in parts])

    def _met(self, origins: Tensor, directions: Tensor) -> Tensor:
        """Between two neighbouring crossings with the planes of the grid a ray stays in one cell."""
        turn, shift, center, half = self._on(origins)
        start, along = origins.double() @ turn.T + shift - center, directions.double() @ turn.T
        along = torch.where(along.abs() < 1e-12, torch.full_like(along, 1e-12), along)
        planes = [
            (torch.linspace(-float(h), float(h), n + 1, dtype=torch.float64, device=start.device) - s[:, None])
            / a[:, None]
            for h, n, s, a in zip(half, self.held.shape, start.T, along.T, strict=True)
        ]
        crossings = torch.cat([start.new_zeros(len(start), 1), *planes], 1).clamp(min=0).sort(1).values
        middles = 0.5 * (crossings[:, 1:] + crossings[:, :-1])
        longer = crossings[:, 1:] > crossings[:, :-1]
        places = start[:, None] + middles[..., None] * along[:, None]
        index, inside = self._cells(places.reshape(-1, 3), half)
        found = (self.held.to(start.device)[index] & inside).view(middles.shape)
        return (found & longer).any(1)

    @cached_property
    def _steps(self) -> Tensor:
        """From each cell's middle to that of the nearest one that belongs to it, [X, Y, Z], in cells."""
        return torch.from_numpy(distance_transform_edt(~self.held.numpy()))

    def _index(self, points: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        turn, shift, center, half = self._on(points)
        return self._cells(points.double() @ turn.T + shift - center, half)

    def _cells(self, offset: Tensor, half: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """The cell of points [N, 3] given from the middle of the grid, the nearest one for those outside; and which
        lie in the grid."""
        size = torch.tensor(self.held.shape, device=offset.device)
        place = torch.floor((offset + half) / self.cell).long()
        inside = ((place >= 0) & (place < size)).all(-1)
        return tuple(place.clamp(min=torch.zeros_like(size), max=size - 1).unbind(-1)), inside
