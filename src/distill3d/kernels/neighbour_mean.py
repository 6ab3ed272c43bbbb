"""Values on the vertices of a graph, averaged with their neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Neighbours:
    """Of each vertex: `others[starts[v]:starts[v + 1]]`, int64."""

    starts: Tensor
    others: Tensor


def neighbours(edges: Tensor, count: int) -> Neighbours:
    """From the edges [E, 2] of a graph with `count` vertices, each edge once."""
    both = torch.cat([edges, edges.flip(1)]).long()
    order = torch.argsort(both[:, 0], stable=True)
    starts = torch.cat([both.new_zeros(1), torch.bincount(both[:, 0], minlength=count).cumsum(0)])
    return Neighbours(starts, both[order, 1].contiguous())


def neighbour_mean(values: Tensor, graph: Neighbours, rounds: int) -> Tensor:
    """Each round puts every vertex half way to the mean of its neighbours.

    As a change of variables it makes an optimiser's steps smooth (a Sobolev gradient; Nicolet et al. 2021, "Large steps
    in inverse rendering of geometry", use the inverse of I + lambda L): what one vertex wants moves those around it.

    Args:
        values: [V, C]; a vertex without neighbours keeps half of its value each round.
    Returns:
        [V, C], with gradient, once. Agrees with `neighbour_mean_reference` to 1e-6 of the largest entry; the same bits
        on any number of threads.
    """
    if values.device.type == "cpu" and values.dtype == torch.float32:
        return _Mean.apply(values, graph, rounds)  # type: ignore[no-untyped-call]
    return neighbour_mean_reference(values, graph, rounds)


def neighbour_mean_reference(values: Tensor, graph: Neighbours, rounds: int) -> Tensor:
    """The same in plain torch."""
    degree = graph.starts[1:] - graph.starts[:-1]
    owner = torch.repeat_interleave(torch.arange(len(degree), device=values.device), degree)
    for _ in range(rounds):
        sums = torch.zeros_like(values).index_add(0, owner, values[graph.others])
        values = 0.5 * values + 0.5 * sums / degree.clamp(min=1)[:, None]
    return values


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, graph: Neighbours, rounds: int) -> Tensor:
        ctx.graph, ctx.rounds = graph, rounds
        return _repeat(values.detach(), graph, rounds, False)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _repeat(gradient, ctx.graph, ctx.rounds, True), None, None


def _repeat(values: Tensor, graph: Neighbours, rounds: int, transposed: bool) -> Tensor:
    source = values.contiguous().numpy()
    for _ in range(rounds):
        target = np.empty_like(source)
        _round(source, graph.starts.numpy(), graph.others.numpy(), transposed, target)
        source = target
    return torch.from_numpy(source) if rounds else values.clone()


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def _round(source, starts, others, transposed, target):  # type: ignore[no-untyped-def]
    count, channels = source.shape
    for block in numba.prange((count + 1023) // 1024):
        for v in range(block * 1024, min(count, block * 1024 + 1024)):
            low, high = starts[v], starts[v + 1]
            for c in range(channels):
                total = np.float32(0)
                for place in range(low, high):
                    o = others[place]
                    weight = np.float32(1)
                    if transposed:
                        weight = np.float32(1) / np.float32(starts[o + 1] - starts[o])
                    total += weight * source[o, c]
                if not transposed:
                    total /= np.float32(max(high - low, 1))
                target[v, c] = np.float32(0.5) * source[v, c] + np.float32(0.5) * total
