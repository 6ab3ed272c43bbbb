"""A shape as the set of its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.parts.gaussians import PartGaussians


@dataclass(frozen=True)
class Parts:
    """P parts, or a batch of shapes of P parts.

    Args:
        gaussians: the extrinsics: where each part is, how large and which way.
        intrinsics: [..., P, d], what is there.
    """

    gaussians: PartGaussians
    intrinsics: Tensor

    def __len__(self) -> int:
        """How many parts a shape has."""
        return self.intrinsics.shape[-2]

    def __getitem__(self, index: int | slice) -> Parts:
        """One shape, or some, of a batch."""
        return Parts(self.gaussians[index], self.intrinsics[index])

    def each(self) -> list[Parts]:
        """The shapes of a batch."""
        return [self[i] for i in range(len(self.intrinsics))]

    def only(self, chosen: Tensor) -> Parts:
        """Some of the parts, by positions [K] or a mask [P]."""
        return Parts(self.gaussians.only(chosen), self.intrinsics[..., chosen, :])

    def joined(self, other: Parts) -> Parts:
        """The parts of both as one shape."""
        return Parts(self.gaussians.joined(other.gaussians), torch.cat([self.intrinsics, other.intrinsics], -2))

    def batch(self) -> Parts:
        """One shape as a batch of one."""
        return Parts(self.gaussians[None], self.intrinsics[None])

    def check(self, chosen: Sequence[int]) -> Tensor:
        """Part numbers as a mask [P].

        Raises:
            UserError: none, or one that the shape does not have.
        """
        count = len(self)
        if not chosen:
            raise UserError("no part is chosen")
        wrong = [i for i in chosen if not 0 <= i < count]
        if wrong:
            raise UserError(f"part {wrong[0]} is not there: this shape has parts 0 to {count - 1}")
        mask = torch.zeros(count, dtype=torch.bool)
        mask[list(chosen)] = True
        return mask
