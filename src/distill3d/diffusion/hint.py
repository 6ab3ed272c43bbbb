"""What one ControlNet is shown beside the prompt: a picture, how strongly it counts, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Hint:
    """A control picture: depth, edges, normals, a scribble; whatever the ControlNet was trained on.

    Args:
        image: [B, H, W, C] in 0..1, at the prior's resolution; [1, ...] serves any batch.
        weight: how strongly it counts, a number or [B]; 0 switches it off.
        region: [B, H, W, 1] in 0..1, where it counts; None is everywhere.
    """

    image: Tensor
    weight: float | Tensor = 1.0
    region: Tensor | None = None

    def expand(self, batch: int) -> Hint:
        """The same, for `batch` pictures, with the weight as [batch]."""
        image = self.image.expand(batch, -1, -1, -1)
        weight = torch.as_tensor(self.weight, dtype=image.dtype, device=image.device).expand(batch)
        return Hint(image, weight, None if self.region is None else self.region.expand(batch, -1, -1, -1))


def together(hints: Sequence[Hint | None], batch: int) -> Hint | None:
    """The hints of several branches of `batch` pictures each, as one; a branch without one gets weight 0."""
    some = next((h for h in hints if h is not None), None)
    if some is None:
        return None
    absent = Hint(torch.zeros_like(some.image), 0.0)
    every = [(h or absent).expand(batch) for h in hints]
    region = None
    if any(h.region is not None for h in every):
        region = torch.cat([torch.ones_like(h.image[..., :1]) if h.region is None else h.region for h in every])
    return Hint(torch.cat([h.image for h in every]), torch.cat([torch.as_tensor(h.weight) for h in every]), region)
