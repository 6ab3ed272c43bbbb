"""Multiresolution hash-grid encoding: features of points in the unit cube (Mueller et al. 2022, section 3).

On a CPU in float32 the loops of `hash_grid_numba` do the work, on CUDA tiny-cuda-nn where it is present, anywhere else
the torch reference.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.kernels import cuda_libraries
from distill3d.kernels import hash_grid_numba as loops
from distill3d.kernels.hash_grid_cuda import fits, hash_encode_tinycudann
from distill3d.kernels.hash_grid_torch import PRIMES, GridLayout, hash_encode_torch

__all__ = ["GridLayout", "hash_encode"]


def hash_encode(positions: Tensor, table: Tensor, layout: GridLayout, active_levels: int | None = None) -> Tensor:
    """Features of points: trilinear in every level, levels one after another.

    Args:
        positions: [N, 3] in 0..1; values outside are clamped to the cube and get no gradient, NaN gives NaN.
        table: [rows, features], `layout.table_shape`, the parameters.
        layout: resolutions and rows of the levels.
        active_levels: only the first so many levels are looked up (coarse to fine); the features of the others are
            zero and their rows get zero gradient. None means all.
    Returns:
        [N, levels * features].
        Gradients go to the table, and to the positions where these require them (normals of a distance field). The
        kernel differentiates once; under `create_graph=True` the reference takes over, right and some 30 times slower.
    Raises:
        UserError: shapes or `active_levels` that do not fit the layout.

    Against the torch reference in float32 the kernel's features agree to 1e-6 of the largest feature, its gradients to
    1e-5 of their largest entry. Sums run in a fixed order: the bits do not depend on the number of threads.
    The numba threads used are those of `numba.get_num_threads()`; keep them equal to torch's.
    """
    active = layout.levels if active_levels is None else active_levels
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise UserError(f"hash_encode got positions of shape {tuple(positions.shape)}; it needs [N, 3]")
    if tuple(table.shape) != layout.table_shape:
        raise UserError(f"hash_encode got a table of shape {tuple(table.shape)}; the layout has {layout.table_shape}")
    if not 0 <= active <= layout.levels:
        raise UserError(f"active_levels is {active}; it must be 0 to {layout.levels}")
    if positions.device.type == table.device.type == "cpu" and positions.dtype == table.dtype == torch.float32:
        return _HashEncode.apply(positions, table, layout, active)  # type: ignore[no-untyped-call]
    library = cuda_libraries.tinycudann() if positions.device.type == "cuda" else None
    if library is not None and table.dtype == torch.float32 and not positions.requires_grad and fits(layout):
        return hash_encode_tinycudann(library, positions, table, layout, active)
    return hash_encode_torch(positions, table, layout, active)


class _HashEncode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, positions: Tensor, table: Tensor, layout: GridLayout, active: int) -> Tensor:
        ctx.save_for_backward(positions, table)
        ctx.layout, ctx.active = layout, active
        levels, threads = _levels(layout)[:active], numba.get_num_threads()
        ctx.points = points = loops.by_coordinate(positions.detach().contiguous().numpy())
        by_pair = loops.encode(points, _flat(table), levels, layout.features, len(positions), threads)
        encoded = torch.empty(len(positions), layout.width, dtype=torch.float32, device="cpu")
        loops.pairs_to_points(by_pair, encoded.numpy())
        return encoded

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        positions, table = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True
            return *_differentiable_gradients(ctx, positions, table, gradient), None, None
        layout, active, threads = ctx.layout, ctx.active, numba.get_num_threads()
        levels, pairs = _levels(layout)[:active], active * layout.features // 2
        points = ctx.points
        by_pair = loops.points_to_pairs(gradient.contiguous().numpy(), pairs)
        to_positions = to_table = None
        if ctx.needs_input_grad[0]:
            sums = loops.differentiate_positions(points, _flat(table), levels, layout.features, by_pair, threads)
            inside = (positions >= 0) & (positions <= 1) | positions.isnan()
            to_positions = torch.where(inside, torch.from_numpy(sums)[:, : len(positions)].T, 0.0)
        if ctx.needs_input_grad[1]:
            to_table = torch.empty(layout.table_shape, dtype=torch.float32, device="cpu")
            order = _balanced_order(pairs, threads)
            loops.differentiate_table(points, levels, layout.features, by_pair, order, _flat(to_table))
            to_table[layout.offsets[active] :] = 0
        return to_positions, to_table, None, None


def _differentiable_gradients(ctx: Any, positions: Tensor, table: Tensor, gradient: Tensor) -> list[Tensor | None]:
    """The gradients to positions and table as the reference makes them, with a graph of their own."""
    inputs = [x for x, needed in zip((positions, table), ctx.needs_input_grad, strict=False) if needed]
    encoded = hash_encode_torch(positions, table, ctx.layout, ctx.active)
    gradients = iter(torch.autograd.grad(encoded, inputs, gradient, create_graph=True, allow_unused=True))
    return [next(gradients) if needed else None for needed in ctx.needs_input_grad[:2]]


def _flat(table: Tensor) -> np.ndarray:
    return table.detach().contiguous().numpy().reshape(-1)


@lru_cache(maxsize=32)
def _levels(layout: GridLayout) -> np.ndarray:
    """The `levels` of `hash_grid_numba`."""
    rows = []
    for level, (resolution, hashed) in enumerate(zip(layout.resolutions, layout.hashed, strict=True)):
        first, stop = layout.offsets[level : level + 2]
        side = resolution + 1
        _, step_y, step_z = PRIMES if hashed else (1, side, side * side)
        rows.append([resolution, first, stop - first, step_y, step_z, 2**layout.log2_table - 1 if hashed else 0])
    return np.array(rows, np.int64)


def _balanced_order(count: int, threads: int) -> np.ndarray:
    """0..count-1 so that the contiguous share of each thread has cheap (coarse) and dear (fine) levels alike."""
    return np.concatenate([np.arange(first, count, threads) for first in range(threads)])
