"""The small perceptron through tiny-cuda-nn's fully fused network, on the same weights.

Its parameters are one flat vector: the matrices one after another, [outputs, inputs] row by row, the first with its
inputs and the last with its outputs padded to a multiple of 16. Inputs that pad are set to 1 there, so their columns
must be zero. It computes in half precision: agreement is to 1e-2 of the largest entry, not to the kernel's 1e-5.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

WIDTHS = (16, 32, 64, 128)  # of hidden layers, that the fused network knows


def fits(weights: list[Tensor]) -> bool:
    """Whether the fused network can hold these layers: hidden ones all of one width that it knows."""
    hidden = {w.shape[0] for w in weights[:-1]}
    return len(hidden) == 1 and hidden <= set(WIDTHS) and weights[-1].shape[0] <= 16


def flat_parameters(weights: list[Tensor]) -> Tensor:
    """The vector described above, differentiable: what comes back for the padding is dropped."""
    first = torch.nn.functional.pad(weights[0], (0, -weights[0].shape[1] % 16))
    last = torch.nn.functional.pad(weights[-1], (0, 0, 0, -weights[-1].shape[0] % 16))
    return torch.cat([w.reshape(-1) for w in (first, *weights[1:-1], last)])


@lru_cache(maxsize=16)
def _network(library: Any, inputs: int, hidden: int, layers: int, outputs: int, device: int) -> Any:
    config = {
        "otype": "FullyFusedMLP",
        "activation": "ReLU",
        "output_activation": "None",
        "n_neurons": hidden,
        "n_hidden_layers": layers,
    }
    with torch.cuda.device(device):
        return library.Network(inputs, outputs, config)


def mlp_tinycudann(library: Any, x: Tensor, weights: list[Tensor]) -> Tensor:
    """Arguments and result of `mlp`, float32 outside. Never run by its authors: see `benchmarks/gpu.py`."""
    outputs, hidden = weights[-1].shape
    network = _network(library, x.shape[1], hidden, len(weights) - 1, outputs, x.device.index or 0)
    return functional_call(network, {"params": flat_parameters(weights)}, (x,)).float()
