"""Rows picked by an index, and rows added up by an index, in one order each time."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor


def gather(values: Tensor, index: Tensor) -> Tensor:
    """`values[index]`, whose gradient is the same bits each time.

    torch's own adds with atomics on several threads, in whatever order they come.

    Args:
        values: [V, C]; index: integers of any shape [...].
    Returns:
        [..., C].
    """
    if values.device.type == "cpu" and values.dtype == torch.float32:
        return _Gather.apply(values, index)  # type: ignore[no-untyped-call]
    return values.index_select(0, index.reshape(-1).long()).view(*index.shape, values.shape[1])


def sum_rows(rows: Tensor, index: Tensor, count: int) -> Tensor:
    """The transpose of `gather`: row n of `rows` [N, C] is added to row `index[n]` of the result, [count, C]."""
    if rows.device.type == "cpu" and rows.dtype == torch.float32:
        return _SumRows.apply(rows, index, count)  # type: ignore[no-untyped-call]
    return rows.new_zeros(count, rows.shape[1]).index_add(0, index.long(), rows)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.rows = len(values)
        return values.index_select(0, index.reshape(-1).long()).view(*index.shape, values.shape[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        rows = gradient.detach().reshape(-1, gradient.shape[-1]).contiguous()
        return torch.from_numpy(_scatter(rows.numpy(), index.reshape(-1).contiguous().numpy(), ctx.rows)), None


class _SumRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor, count: int) -> Tensor:
        ctx.save_for_backward(index)
        return torch.from_numpy(_scatter(rows.detach().contiguous().numpy(), index.contiguous().numpy(), count))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (index,) = ctx.saved_tensors
        return gradient.index_select(0, index.long()), None, None


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _scatter(rows, index, count):  # type: ignore[no-untyped-def]
    total = np.zeros((count, rows.shape[1]), np.float32)
    for n in range(len(rows)):
        for c in range(rows.shape[1]):
            total[index[n], c] += rows[n, c]
    return total
