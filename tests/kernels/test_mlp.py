"""The perceptron and the field's last activations against plain torch."""

from __future__ import annotations

import itertools

import numba
import pytest
import torch

from distill3d.kernels.field_heads import field_heads, field_heads_reference
from distill3d.kernels.mlp import mlp, mlp_reference


def network(widths: tuple[int, ...], count: int) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    weights = [
        (torch.randn(b, a, generator=generator) / a**0.5).requires_grad_() for a, b in itertools.pairwise(widths)
    ]
    x = torch.randn(count, widths[0], generator=generator).requires_grad_()
    return x, weights, torch.randn(count, widths[-1], generator=generator)


@pytest.mark.parametrize(
    ("widths", "count"), [((20, 32, 4), 1000), ((18, 16, 24, 3), 321), ((5, 3), 70), ((8, 8, 4), 0)]
)
def test_values_and_gradients_of_the_reference(widths: tuple[int, ...], count: int) -> None:
    x, weights, upstream = network(widths, count)
    ours, theirs = mlp(x, weights), mlp_reference(x, weights)
    assert ours.shape == theirs.shape
    if not count:
        return
    torch.testing.assert_close(ours, theirs, atol=1e-5 * theirs.abs().max().item(), rtol=0)
    wanted = torch.autograd.grad(theirs, [x, *weights], upstream)
    for a, b in zip(torch.autograd.grad(ours, [x, *weights], upstream), wanted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5 * b.abs().max().item(), rtol=0)


def test_negative_inputs_do_not_pass_the_rectifier() -> None:
    """Negative control: without the rectifier the network would be linear, and this would be zero."""
    x, weights, _ = network((20, 32, 4), 100)
    assert (mlp(x, weights) + mlp(-x, weights)).abs().max() > 0.1


def test_threads_do_not_change_a_bit() -> None:
    x, weights, upstream = network((20, 32, 4), 5000)
    before, most = numba.get_num_threads(), numba.config.NUMBA_NUM_THREADS
    results = []
    try:
        for threads in (1, most):
            numba.set_num_threads(threads)
            y = mlp(x, weights)
            results.append([y, *torch.autograd.grad(y, [x, *weights], upstream)])
    finally:
        numba.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("activation", ["softplus", "exp"])
@pytest.mark.parametrize("blob", ["none", "magic3d", "dreamfusion"])
def test_heads_agree_with_plain_torch(activation: str, blob: str) -> None:
    generator = torch.Generator().manual_seed(0)
    raw = (torch.randn(600, 4, generator=generator) * 4).requires_grad_()
    raw.data[0, 0] = 60
    settings = (torch.rand(600, 3, generator=generator), activation, 5.0, blob, 4.0, 0.5)
    ours, theirs = field_heads(raw, *settings), field_heads_reference(raw, *settings)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=5e-6, atol=1e-6)
    upstream = [torch.randn(o.shape, generator=generator) for o in ours]
    a, b = (torch.autograd.grad(o, raw, upstream)[0] for o in (ours, theirs))
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    if activation == "exp":
        assert b[0, 0] == 0  # beyond the largest exponent
