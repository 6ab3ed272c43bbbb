"""A canvas's last answer, kept: over the steps of a sampler it is asked the same question again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from distill3d.diffusion.networks.canvas import Canvas


class MeanPicture:
    """A canvas's last answer, given again while the labels and the canvas's weights are the same, to the bit.

    With gradients switched on nothing is kept: whoever trains wants the graph.
    """

    def __init__(self) -> None:
        self._weights: list[tuple[int, int]] = []
        self._labels: Tensor | None = None
        self._answer: Tensor | None = None

    def __call__(self, canvas: Canvas, labels: Tensor) -> Tensor:
        """`canvas(labels)`, not to be changed in place; labels [B, labels]."""
        if torch.is_grad_enabled():
            made: Tensor = canvas(labels)
            return made
        weights = [(p.data_ptr(), p._version) for p in canvas.parameters()]
        if self._answer is None or weights != self._weights or not _same(labels, self._labels):
            self._weights, self._labels, self._answer = weights, labels.clone(), canvas(labels)
        return self._answer

    def forget(self) -> None:
        """Drop it: after the canvas moved to another device."""
        self._answer = None


def _same(labels: Tensor, others: Tensor | None) -> bool:
    if others is None or labels.device != others.device or labels.dtype != others.dtype:
        return False
    return torch.equal(labels, others)
