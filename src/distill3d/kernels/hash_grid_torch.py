"""The multiresolution hash grid in plain torch: layout, and the reference that the CPU kernel agrees with.

Source: Mueller et al. 2022, "Instant Neural Graphics Primitives with a Multiresolution Hash Encoding", section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from distill3d.core.errors import UserError

PRIMES = (1, 2654435761, 805459861)  # eq. 4; the first is 1 so that neighbours along x stay near each other in memory


@dataclass(frozen=True)
class GridLayout:
    """Which rows of one feature table belong to which level.

    Level `l` is a grid of `resolutions[l]` cells a side, so (resolution + 1)^3 vertices, over the unit cube. Its rows
    are `offsets[l]` to `offsets[l + 1]`: one a vertex (x fastest) where that needs at most 2^log2_table rows, else
    2^log2_table rows that vertices share by their hash.

    Args:
        levels: number of grids; their resolutions grow geometrically from `base` to `finest`, rounded down.
        features: numbers a row; even (2, 4, 8).
        log2_table: most rows a level, as a power of two, 4 to 24.
        base, finest: cells a side of the first and the last level.
    """

    levels: int = 16
    features: int = 2
    log2_table: int = 15
    base: int = 16
    finest: int = 512

    def __post_init__(self) -> None:
        if self.levels < 1:
            raise UserError(f"hash grid levels is {self.levels}; it must be at least 1")
        if self.features < 2 or self.features % 2:
            raise UserError(f"hash grid features is {self.features}; it must be even (2, 4, 8)")
        if not 4 <= self.log2_table <= 24:
            raise UserError(f"hash grid log2_table is {self.log2_table}; it must be 4 to 24")
        if not 1 <= self.base <= self.finest <= 2**20:
            raise UserError(f"hash grid base {self.base} and finest {self.finest} must be 1 <= base <= finest <= 2^20")

    @cached_property
    def resolutions(self) -> tuple[int, ...]:
        if self.levels == 1:
            return (self.base,)
        growth = math.log(self.finest / self.base) / (self.levels - 1)
        # the rounding keeps exact powers exact: floor(511.9999...) would lose the finest level
        return tuple(math.floor(round(self.base * math.exp(growth * level), 6)) for level in range(self.levels))

    @cached_property
    def hashed(self) -> tuple[bool, ...]:
        return tuple((resolution + 1) ** 3 > 2**self.log2_table for resolution in self.resolutions)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """First row of each level, and after them the number of rows: levels + 1 numbers."""
        offsets = [0]
        for resolution in self.resolutions:
            # whole cache lines of 8 rows, as in the paper's code: corners that hash next to each other share one
            rows = -(-((resolution + 1) ** 3) // 8) * 8
            offsets.append(offsets[-1] + min(rows, 2**self.log2_table))
        return tuple(offsets)

    @property
    def table_shape(self) -> tuple[int, int]:
        return self.offsets[-1], self.features

    @property
    def width(self) -> int:
        """Numbers that one point is encoded as."""
        return self.levels * self.features


def hash_encode_torch(
    positions: Tensor,
    table: Tensor,
    layout: GridLayout,
    active_levels: int | None = None,
    primes: tuple[int, int, int] = PRIMES,
    lookup: Callable[[Tensor, Tensor], Tensor] = Tensor.__getitem__,
) -> Tensor:
    """Trilinear features of every level, one after another, by torch operations on any device and float type.

    Arguments, result and behaviour outside the unit cube are those of `hash_grid.hash_encode`; this one also
    differentiates twice. `primes` is for tests that must see a difference, `lookup` (table, rows [N, 8]) -> [N, 8, F]
    for benchmarks of other ways to index.
    """
    active = layout.levels if active_levels is None else active_levels
    corners = torch.tensor([[k & 1, k >> 1 & 1, k >> 2] for k in range(8)], device=positions.device)  # [8, 3]
    unit = positions.clamp(0.0, 1.0)
    encoded = []
    for level in range(active):
        resolution = layout.resolutions[level]
        scaled = unit * resolution
        cell = scaled.detach().long().clamp(0, resolution - 1)
        fraction = (scaled - cell)[:, None]  # [N, 1, 3]
        vertices = cell[:, None] + corners  # [N, 8, 3]
        weights = torch.where(corners.bool(), fraction, 1 - fraction).prod(-1)  # [N, 8]
        if layout.hashed[level]:
            x, y, z = (vertices[..., axis] * primes[axis] for axis in range(3))
            rows = (x ^ y ^ z) & (2**layout.log2_table - 1)
        else:
            side = resolution + 1
            rows = vertices[..., 0] + side * (vertices[..., 1] + side * vertices[..., 2])
        features = lookup(table, rows + layout.offsets[level])  # [N, 8, F]
        encoded.append((weights[..., None] * features).sum(1))
    inactive = positions.new_zeros(len(positions), (layout.levels - active) * layout.features, dtype=table.dtype)
    return torch.cat([*encoded, inactive], -1)
