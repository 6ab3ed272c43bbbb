"""Pixels of a capture: random ones to learn from, or a lattice of them to look at."""

from __future__ import annotations

import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.files.captures import Capture


class PixelSource:
    """The pixels of some pictures of a capture, and the rays through them.

    Args:
        pictures: indices of the pictures, [P].
    """

    def __init__(self, capture: Capture, pictures: Tensor) -> None:
        self.capture, self.pictures = capture, pictures
        self.height, self.width = capture.cameras.height, capture.cameras.width
        self.cameras: Cameras = capture.cameras
        self.counting: Tensor | None = None  # flat indices of the pixels that count, where not all do
        if capture.masks is not None:
            self.counting = capture.masks[pictures].flatten().nonzero()[:, 0]
        self.total = len(self.counting) if self.counting is not None else len(pictures) * self.height * self.width

    def random(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Origins, directions [N, 3] and colours [N, 3 or 4] in 0..1 of pixels drawn evenly, with repetition."""
        flat = torch.randint(self.total, (count,), generator=generator, device=generator.device).cpu()
        if self.counting is not None:
            flat = self.counting[flat]
        area = self.height * self.width
        return self._at(self.pictures[flat // area], flat % area)

    def lattice(self, picture: int, stride: int) -> tuple[Tensor, Tensor, Tensor]:
        """The same of every `stride`-th pixel each way of one picture that counts; stride 1 is all of them."""
        rows = torch.arange(stride // 2, self.height, stride)
        columns = torch.arange(stride // 2, self.width, stride)
        flat = (rows[:, None] * self.width + columns).flatten()
        if self.capture.masks is not None:
            flat = flat[self.capture.masks[picture].flatten()[flat]]
        return self._at(torch.full_like(flat, picture), flat)

    def _at(self, picture: Tensor, flat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        row, column = flat // self.width, flat % self.width
        origins, directions = self.cameras.rays_at(picture, torch.stack([column, row], -1) + 0.5)
        return origins, directions, self.capture.pictures[picture, row, column].float() / 255
