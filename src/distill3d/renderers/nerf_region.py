"""A radiance field that may change inside a region alone: outside it is another one, which stays."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from distill3d.geometry.region import Region
from distill3d.kernels.marching import chebyshev_distance
from distill3d.renderers.nerf_field import NerfField
from distill3d.renderers.nerf_space import Ball, Contracted, FieldSamples, joined


class RegionField(nn.Module):
    """Two fields of the same layout: `edited` inside a region, `kept` outside.

    A hash grid shares its cells and its network between places, so holding gradients back outside a region would not
    hold the field there; a second field does, by construction.

    Args:
        edited, kept: the fields; `kept` gets no gradient.
        region: in the coordinates of the file that the scene came from; see `place`.
        space: of the renderer. In contracted space the region ends at the unit ball.
        cells: along each side of the occupancy grid.
    """

    to_file: Tensor  # [4, 4] float64, from the scene's world to the file's
    drawn: Tensor  # [cells, cells, cells] bool, where the kept field is seen: faint density elsewhere never was

    def __init__(
        self, edited: NerfField, kept: NerfField, region: Region, space: Ball | Contracted, cells: int
    ) -> None:
        super().__init__()
        self.edited, self.kept, self.space = edited, kept.requires_grad_(False), space
        self._region = region
        self._of_drawn: tuple[object, Tensor] | None = None
        self.register_buffer("to_file", torch.eye(4, dtype=torch.float64))
        self.register_buffer("drawn", torch.ones(cells, cells, cells, dtype=torch.bool))

    @property
    def region(self) -> Region:
        return self._region.seen_from(self.to_file)

    @property
    def table(self) -> nn.Parameter:
        return self.edited.table

    @property
    def weights(self) -> nn.ParameterList:
        return self.edited.weights

    def take(self, field: NerfField, to_file: Tensor, occupied: Tensor) -> None:
        """Both become `field`, seen in its `occupied` cells, and the region is where `to_file` [4, 4] says."""
        for own in (self.edited, self.kept):
            own.load_state_dict(field.state_dict())
            own.active_levels = field.active_levels
        self.to_file.copy_(to_file)
        self.drawn.copy_(occupied)

    def inside(self, positions: Tensor) -> Tensor:
        """[N] bool for positions [N, 3] in 0..1."""
        points = (positions.detach() - 0.5) * (2 if isinstance(self.space, Ball) else 4)
        return self.region.contains(points) & (points.norm(dim=-1) <= 1)

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """See `NerfField.forward`."""
        return self._either(positions, self.edited(positions), self.kept(positions))

    def seen(self, positions: Tensor, directions: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """See `NerfField.seen`."""
        both = (field.seen(positions, directions, offsets) for field in (self.edited, self.kept))
        return self._either(positions, *both)

    def density(self, positions: Tensor) -> Tensor:
        """Density alone, [N]."""
        return self(positions)[0]

    def at(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """`forward` in chunks, without gradient."""
        return self._either(positions, self.edited.at(positions), self.kept.at(positions))

    def samples(
        self, origins: Tensor, directions: Tensor, distance: Tensor, jitter: Tensor | None = None
    ) -> FieldSamples:
        """Where to look on rays [R, 3]. A ray that misses the region is marched as before the edit: choosing among its
        samples afterwards would err where rounding puts one across the border of a cell.

        Args:
            distance: of the occupancy grid in which everything in the region is occupied.
        """
        meets = self.region.meets(origins, directions)
        parts = []
        for rays, cells in ((meets, distance), (~meets, self._distance)):
            at = self.space.samples(origins[rays], directions[rays], cells, None if jitter is None else jitter[rays])
            parts.append((rays, self._without_unseen(at) if rays is meets else at))
        return joined(parts)

    @property
    def _distance(self) -> Tensor:
        """Of the occupancy grid before the edit."""
        now = self.drawn._version, self.drawn.device  # by which it is known to have been loaded or moved
        if self._of_drawn is None or self._of_drawn[0] != now:
            self._of_drawn = now, chebyshev_distance(self.drawn)
        return self._of_drawn[1]

    def _without_unseen(self, at: FieldSamples) -> FieldSamples:
        """The samples inside the region, or where the kept field is seen."""
        n = len(self.drawn)
        x, y, z = (at.positions.detach() * n).long().clamp(0, n - 1).unbind(-1)
        keep = self.drawn[x, y, z] | self.inside(at.positions)
        passed = torch.cat([keep.new_zeros(1, dtype=torch.long), keep.long().cumsum(0)])
        offsets = passed[at.offsets.long()].to(at.offsets.dtype)
        stretch = None if at.stretch is None else at.stretch[keep]
        return FieldSamples(at.positions[keep], at.t[keep], stretch, offsets)

    def _either(
        self, positions: Tensor, edited: tuple[Tensor, Tensor], kept: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        inside = self.inside(positions)
        return torch.where(inside, edited[0], kept[0]), torch.where(inside[:, None], edited[1], kept[1])
