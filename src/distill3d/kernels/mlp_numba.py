"""Register-tiled layers of a small perceptron for the CPU, forward and backward, 64 rows at a time.

A layer is `y[row] = x[row] W^T`: numbers of x are spread over eight lanes and meet eight outputs at once, four rows by
two vectors of outputs a tile, so that eight sums stay in registers. Outputs are padded to whole vectors with zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

from distill3d.kernels.simd import F8, floor_at_f8, fma_f8, load_f8, splat_f8, store_f8

ROWS = 64  # rows a block: their activations stay in the first-level cache
PARTS = 16  # fixed shares of the rows, whatever the threads: weight gradients are summed in this order
_COMPILE: dict[str, Any] = {"cache": True, "error_model": "numpy", "nogil": True}


@intrinsic
def where_positive_f8(typing: Any, condition: Any, value: Any) -> Any:
    """`value` in the lanes where `condition` > 0, else 0."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        zero = ir.Constant(F8.llvm, [0.0] * 8)
        return builder.select(builder.fcmp_ordered(">", args[0], zero), args[1], zero)

    return F8(F8, F8), generate


@intrinsic
def spread_f8(typing: Any, array: Any, index: Any) -> Any:
    """One number of an array in all eight lanes."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        empty, lanes = ir.Constant(F8.llvm, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), 8), [0] * 8)
        value = builder.load(builder.gep(data, [args[1]]))
        return builder.shuffle_vector(builder.insert_element(empty, value, ir.IntType(32)(0)), empty, lanes)

    return F8(array, types.intp), generate


def packed(weights: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights [out, in] as the kernels read them.

    Returns:
        forward: all layers [in, out padded], one after another; backward: all layers [out, in padded];
        layers: [L, 6] int64 of in, out, out padded, in padded, start in forward, start in backward.
    """
    forward, backward, layers = [], [], []
    at_forward = at_backward = 0
    for w in weights:
        n_out, n_in = w.shape
        out_padded, in_padded = -(-n_out // 8) * 8, -(-n_in // 8) * 8
        layers.append([n_in, n_out, out_padded, in_padded, at_forward, at_backward])
        forward.append(np.pad(w.T, ((0, 0), (0, out_padded - n_out))).ravel())
        backward.append(np.pad(w, ((0, 0), (0, in_padded - n_in))).ravel())
        at_forward += n_in * out_padded
        at_backward += n_out * in_padded
    return np.concatenate(forward), np.concatenate(backward), np.array(layers, np.int64)


@njit(**_COMPILE)
def _dense(x, xo, xs, n_in, w, wo, width, y, yo, rectify):  # type: ignore[no-untyped-def]
    """y[row, :width] = x[row, :n_in] w, 64 rows; x starts at xo with row stride xs, y at yo with stride width."""
    zero = splat_f8(np.float32(0))
    for row in range(0, ROWS, 4):
        x0 = xo + row * xs
        x1, x2, x3 = x0 + xs, x0 + 2 * xs, x0 + 3 * xs
        y0 = yo + row * width
        column = 0
        while column + 16 <= width:
            a0, a1, b0, b1, c0, c1, d0, d1 = zero, zero, zero, zero, zero, zero, zero, zero
            at = wo + column
            for f in range(n_in):
                w0, w1 = load_f8(w, at), load_f8(w, at + 8)
                at += width
                a, b = spread_f8(x, x0 + f), spread_f8(x, x1 + f)
                a0, a1, b0, b1 = fma_f8(a, w0, a0), fma_f8(a, w1, a1), fma_f8(b, w0, b0), fma_f8(b, w1, b1)
                c, d = spread_f8(x, x2 + f), spread_f8(x, x3 + f)
                c0, c1, d0, d1 = fma_f8(c, w0, c0), fma_f8(c, w1, c1), fma_f8(d, w0, d0), fma_f8(d, w1, d1)
            if rectify:
                a0, a1, b0, b1 = (
                    floor_at_f8(a0, zero),
                    floor_at_f8(a1, zero),
                    floor_at_f8(b0, zero),
                    floor_at_f8(b1, zero),
                )
                c0, c1, d0, d1 = (
                    floor_at_f8(c0, zero),
                    floor_at_f8(c1, zero),
                    floor_at_f8(d0, zero),
                    floor_at_f8(d1, zero),
                )
            to = y0 + column
            store_f8(y, to, a0)
            store_f8(y, to + 8, a1)
            store_f8(y, to + width, b0)
            store_f8(y, to + width + 8, b1)
            store_f8(y, to + 2 * width, c0)
            store_f8(y, to + 2 * width + 8, c1)
            store_f8(y, to + 3 * width, d0)
            store_f8(y, to + 3 * width + 8, d1)
            column += 16
        if column < width:
            a0, b0, c0, d0 = zero, zero, zero, zero
            at = wo + column
            for f in range(n_in):
                w0 = load_f8(w, at)
                at += width
                a0, b0 = fma_f8(spread_f8(x, x0 + f), w0, a0), fma_f8(spread_f8(x, x1 + f), w0, b0)
                c0, d0 = fma_f8(spread_f8(x, x2 + f), w0, c0), fma_f8(spread_f8(x, x3 + f), w0, d0)
            if rectify:
                a0, b0, c0, d0 = (
                    floor_at_f8(a0, zero),
                    floor_at_f8(b0, zero),
                    floor_at_f8(c0, zero),
                    floor_at_f8(d0, zero),
                )
            to = y0 + column
            store_f8(y, to, a0)
            store_f8(y, to + width, b0)
            store_f8(y, to + 2 * width, c0)
            store_f8(y, to + 3 * width, d0)


@njit(**_COMPILE)
def _outer(x, xo, xs, n_in, g, width, total, to):  # type: ignore[no-untyped-def]
    """total[f, :width] += sum over 64 rows of x[row, f] g[row, :width]."""
    f = 0
    while f + 4 <= n_in:
        column = 0
        while column + 16 <= width:
            at = to + f * width + column
            a0, a1 = load_f8(total, at), load_f8(total, at + 8)
            b0, b1 = load_f8(total, at + width), load_f8(total, at + width + 8)
            c0, c1 = load_f8(total, at + 2 * width), load_f8(total, at + 2 * width + 8)
            d0, d1 = load_f8(total, at + 3 * width), load_f8(total, at + 3 * width + 8)
            for row in range(ROWS):
                g0, g1 = load_f8(g, row * width + column), load_f8(g, row * width + column + 8)
                start = xo + row * xs + f
                a, b = spread_f8(x, start), spread_f8(x, start + 1)
                a0, a1, b0, b1 = fma_f8(a, g0, a0), fma_f8(a, g1, a1), fma_f8(b, g0, b0), fma_f8(b, g1, b1)
                c, d = spread_f8(x, start + 2), spread_f8(x, start + 3)
                c0, c1, d0, d1 = fma_f8(c, g0, c0), fma_f8(c, g1, c1), fma_f8(d, g0, d0), fma_f8(d, g1, d1)
            store_f8(total, at, a0)
            store_f8(total, at + 8, a1)
            store_f8(total, at + width, b0)
            store_f8(total, at + width + 8, b1)
            store_f8(total, at + 2 * width, c0)
            store_f8(total, at + 2 * width + 8, c1)
            store_f8(total, at + 3 * width, d0)
            store_f8(total, at + 3 * width + 8, d1)
            column += 16
        if column < width:
            at = to + f * width + column
            a0, b0 = load_f8(total, at), load_f8(total, at + width)
            c0, d0 = load_f8(total, at + 2 * width), load_f8(total, at + 3 * width)
            for row in range(ROWS):
                g0 = load_f8(g, row * width + column)
                start = xo + row * xs + f
                a0, b0 = fma_f8(spread_f8(x, start), g0, a0), fma_f8(spread_f8(x, start + 1), g0, b0)
                c0, d0 = fma_f8(spread_f8(x, start + 2), g0, c0), fma_f8(spread_f8(x, start + 3), g0, d0)
            store_f8(total, at, a0)
            store_f8(total, at + width, b0)
            store_f8(total, at + 2 * width, c0)
            store_f8(total, at + 3 * width, d0)
        f += 4
    while f < n_in:
        for column in range(0, width, 8):
            at = to + f * width + column
            a0 = load_f8(total, at)
            for row in range(ROWS):
                a0 = fma_f8(spread_f8(x, xo + row * xs + f), load_f8(g, row * width + column), a0)
            store_f8(total, at, a0)
        f += 1


@njit(**_COMPILE)
def _rows(x, n_in, start, count, tail):  # type: ignore[no-untyped-def]
    """Where 64 rows from `start` can be read: in x itself, or copied to `tail` with zeros below the last row."""
    if start + ROWS <= count:
        return x, start * n_in
    tail[:] = 0
    rest = (count - start) * n_in
    tail[:rest] = x[start * n_in : start * n_in + rest]
    return tail, 0


@njit(parallel=True, **_COMPILE)
def forward(x, weights, layers, out):  # type: ignore[no-untyped-def]
    """Outputs of rows x [N, in] into `out` [N, out]."""
    count, depth = len(x), len(layers)
    flat = x.reshape(-1)
    widest = np.max(layers[:, 2])
    blocks = (count + ROWS - 1) // ROWS
    share = (blocks + PARTS - 1) // PARTS
    for part in prange(PARTS):
        acts = np.empty((2, ROWS * widest), np.float32)
        tail = np.empty(ROWS * layers[0, 0], np.float32)
        for block in range(part * share, min((part + 1) * share, blocks)):
            source, at = _rows(flat, layers[0, 0], block * ROWS, count, tail)
            stride = layers[0, 0]
            for i in range(depth):
                y = acts[i & 1]
                _dense(source, at, stride, layers[i, 0], weights, layers[i, 4], layers[i, 2], y, 0, i < depth - 1)
                source, at, stride = y, 0, layers[i, 2]
            for row in range(min(ROWS, count - block * ROWS)):
                for column in range(layers[depth - 1, 1]):
                    out[block * ROWS + row, column] = source[row * stride + column]


@njit(parallel=True, **_COMPILE)
def backward(x, weights, transposed, layers, gradient, to_x, totals):  # type: ignore[no-untyped-def]
    """Gradients to x [N, in] into `to_x` (skipped where that has no rows) and to the weights into `totals` [PARTS, P].

    `totals` starts at zero, is laid out like `weights`, and is to be summed over its rows in order.
    """
    count, depth = len(x), len(layers)
    flat = x.reshape(-1)
    widest = max(np.max(layers[:, 2]), np.max(layers[:, 3]))
    blocks = (count + ROWS - 1) // ROWS
    share = (blocks + PARTS - 1) // PARTS
    for part in prange(PARTS):
        acts = np.empty((depth, ROWS * widest), np.float32)
        grads = np.empty((2, ROWS * widest), np.float32)
        tail = np.empty(ROWS * layers[0, 0], np.float32)
        total = totals[part]
        for block in range(part * share, min((part + 1) * share, blocks)):
            first, first_at = _rows(flat, layers[0, 0], block * ROWS, count, tail)
            source, at, stride = first, first_at, layers[0, 0]
            for i in range(depth - 1):
                _dense(source, at, stride, layers[i, 0], weights, layers[i, 4], layers[i, 2], acts[i], 0, True)
                source, at, stride = acts[i], 0, layers[i, 2]
            g, other = grads[0], grads[1]
            live = min(ROWS, count - block * ROWS)
            width = layers[depth - 1, 2]
            g[: ROWS * width] = 0
            for row in range(live):
                for column in range(layers[depth - 1, 1]):
                    g[row * width + column] = gradient[block * ROWS + row, column]
            for i in range(depth - 1, 0, -1):
                below = acts[i - 1]
                _outer(below, 0, layers[i - 1, 2], layers[i, 0], g, layers[i, 2], total, layers[i, 4])
                _dense(g, 0, layers[i, 2], layers[i, 1], transposed, layers[i, 5], layers[i, 3], other, 0, False)
                for lane in range(0, ROWS * layers[i, 3], 8):
                    store_f8(other, lane, where_positive_f8(load_f8(below, lane), load_f8(other, lane)))
                g, other = other, g
            _outer(first, first_at, layers[0, 0], layers[0, 0], g, layers[0, 2], total, layers[0, 4])
            if len(to_x):
                _dense(g, 0, layers[0, 2], layers[0, 1], transposed, layers[0, 5], layers[0, 3], other, 0, False)
                for row in range(live):
                    for column in range(layers[0, 0]):
                        to_x[block * ROWS + row, column] = other[row * layers[0, 3] + column]
