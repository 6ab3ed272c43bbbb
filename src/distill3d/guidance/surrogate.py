"""A loss whose gradient is a given one: the one place of the stop-gradient trick."""

from __future__ import annotations

from torch import Tensor


def surrogate_loss(x: Tensor, gradient: Tensor) -> Tensor:
    """A scalar with d loss / d x = gradient / B, exactly.

    The reduction is a sum over elements and a mean over the batch. Its value is |gradient|^2 / (2 B), as if the
    target of a squared error were `x - gradient`, so that curves of it can be read.

    Args:
        x: [B, ...], carries the graph of the renderer.
        gradient: shaped like `x`; no gradient flows through it.
    """
    gradient = gradient.detach()
    moved = x - x.detach()  # zero in value; (x - (x - g)) would lose the last bits of g
    return ((moved * gradient).sum() + 0.5 * gradient.square().sum()) / x.shape[0]
