"""A small multilayer perceptron over very many rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from distill3d.kernels import cuda_libraries, mlp_numba
from distill3d.kernels.mlp_cuda import fits, mlp_tinycudann


def mlp(x: Tensor, weights: list[Tensor]) -> Tensor:
    """ReLU layers without biases (as in Instant-NGP): x W_0^T, ReLU, ... W_last^T.

    On a CPU in float32, hidden activations are never written to memory: blocks of 64 rows go through all layers in
    cache, and the backward pass computes them again.

    Args:
        x: [N, inputs]; weights: at least one, [outputs, inputs] each.

    Returns:
        [N, outputs of the last layer]; gradients to x and all weights, once. Agrees with `mlp_reference` to 1e-5 of
        the largest entry, in values and gradients. The same bits on any number of threads. On CUDA with tiny-cuda-nn
        it computes in half precision: 1e-2 of the largest entry.
    """
    if x.device.type == "cpu" and x.dtype == torch.float32:
        return _Mlp.apply(x, *weights)  # type: ignore[no-untyped-call]
    library = cuda_libraries.tinycudann() if x.device.type == "cuda" and x.dtype == torch.float32 else None
    if library is not None and fits(weights):
        return mlp_tinycudann(library, x, weights)
    return mlp_reference(x, weights)


def mlp_reference(x: Tensor, weights: list[Tensor]) -> Tensor:
    """The same in plain torch."""
    for weight in weights[:-1]:
        x = torch.relu(x @ weight.T)
    return x @ weights[-1].T


class _Mlp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *weights: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, *weights)
        out = torch.empty(len(x), len(weights[-1]))
        down, _, layers = _packed(weights)
        mlp_numba.forward(x.detach().numpy(), down, layers, out.numpy())
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        down, up, layers = _packed(weights)
        to_x = torch.empty_like(x) if ctx.needs_input_grad[0] else torch.empty(0, x.shape[1])
        totals = np.zeros((mlp_numba.PARTS, len(down)), np.float32)
        mlp_numba.backward(x.detach().numpy(), down, up, layers, gradient.contiguous().numpy(), to_x.numpy(), totals)
        total = totals.sum(0)
        to_weights = []
        for n_in, n_out, width, _, start, _ in layers:
            part = total[start : start + n_in * width].reshape(n_in, width)[:, :n_out]
            to_weights.append(torch.from_numpy(np.ascontiguousarray(part.T)))
        return (to_x if ctx.needs_input_grad[0] else None), *to_weights


def _packed(weights: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return mlp_numba.packed([w.detach().numpy() for w in weights])
