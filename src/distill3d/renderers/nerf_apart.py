"""A radiance field whose shape and colour come from parameters of their own, so that the one can change alone."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from distill3d.renderers.nerf_field import NerfField


class ApartField(nn.Module):
    """Two fields of the same layout: `shape` says the density, `paint` the colour.

    In a `NerfField` both come from one grid and one network: whatever changes the colour moves the density too. Loading
    the state of such a field makes both parts that field, which then look as it did, to the bit.

    Args:
        shape, paint: the fields.
        still: `shape` gets no gradient.
    """

    def __init__(self, shape: NerfField, paint: NerfField, still: bool) -> None:
        super().__init__()
        self.shape, self.paint, self.still = shape.requires_grad_(not still), paint, still

    @property
    def active_levels(self) -> int:
        return self.paint.active_levels

    @active_levels.setter
    def active_levels(self, levels: int) -> None:
        self.shape.active_levels = self.paint.active_levels = levels

    @property
    def table(self) -> nn.Parameter:
        return self.paint.table

    @property
    def weights(self) -> nn.ParameterList:
        return self.paint.weights

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """See `NerfField.forward`."""
        return self.shape(positions)[0], self.paint(positions)[1]

    def seen(self, positions: Tensor, directions: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """See `NerfField.seen`."""
        parts = (field.seen(positions, directions, offsets) for field in (self.shape, self.paint))
        (density, _), (_, color) = parts
        return density, color

    def density(self, positions: Tensor) -> Tensor:
        """Density alone, [N]."""
        return self.shape.density(positions)

    def at(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """`forward` in chunks, without gradient."""
        return self.shape.at(positions)[0], self.paint.at(positions)[1]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *more: Any) -> None:
        shared = [k for k in state_dict if k.startswith((f"{prefix}table", f"{prefix}weights."))]
        for key in shared:  # of a field that is one
            value, name = state_dict.pop(key), key.removeprefix(prefix)
            state_dict[f"{prefix}shape.{name}"] = state_dict[f"{prefix}paint.{name}"] = value
        super()._load_from_state_dict(state_dict, prefix, *more)
