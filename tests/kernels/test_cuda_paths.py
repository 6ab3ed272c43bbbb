"""The index arithmetic of the CUDA paths, on the CPU: what the libraries are told, and what is made of their answer."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from distill3d.kernels import hash_grid_cuda, mlp_cuda
from distill3d.kernels.compositing_cuda import composite_packed
from distill3d.kernels.compositing_torch import composite_reference
from distill3d.kernels.hash_grid_torch import PRIMES, GridLayout, hash_encode_torch
from distill3d.kernels.marching_cuda import march_in_parts, march_nerfacc, near_planes
from distill3d.kernels.marching_torch import march_reference
from distill3d.kernels.mlp import mlp_reference
from tests.kernels.test_compositing import packed
from tests.kernels.test_marching import STEP, blobs, rays


def same(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> None:
    assert torch.equal(ours[2], theirs[2])
    for a, b in zip(ours[:2], theirs[:2], strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


@pytest.mark.parametrize("at_once", [2000, 1 << 22])
def test_marching_in_parts_is_marching(at_once: int) -> None:
    origins, directions, jitter = rays(150)
    arguments = (origins, directions, blobs(16, 0.1), STEP, jitter, 1.0)
    same(march_in_parts(*arguments, at_once=at_once), march_reference(*arguments))
    empty = tuple(a[:0] for a in (origins, directions))
    assert march_in_parts(*empty, blobs(16, 0.1), STEP, jitter[:0], 1.0)[2].tolist() == [0]


def walker(drift: float) -> SimpleNamespace:
    """nerfacc.traverse_grids as its CUDA source reads (0.5.3), one ray after another: intervals from the near plane on,
    kept where their middle is in an occupied cell; the distances then drift, as its sums of steps do."""

    def traverse_grids(origins, directions, binaries, aabbs, near_planes, step_size):  # type: ignore[no-untyped-def]
        n, (low, high) = binaries.shape[1], (aabbs[0, 0].item(), aabbs[0, 3].item())
        values, index, counts = [], [], []
        for r in range(len(origins)):
            middle = near_planes[r].double() + (torch.arange(1200) + 0.5) * step_size
            points = (origins[r].double() + middle[:, None] * directions[r].double() - low) / (high - low)
            i, j, m = (points * n).long().clamp(0, n - 1).unbind(-1)
            keep = ((points >= 0) & (points < 1)).all(-1) & binaries[0, i, j, m]
            values.append(middle[keep] + drift * step_size)
            index.append(torch.full((int(keep.sum()),), r))
            counts.append(int(keep.sum()))
        counts = torch.tensor(counts)
        info = torch.stack([counts.cumsum(0) - counts, counts], -1)
        samples = SimpleNamespace(vals=torch.cat(values).float(), ray_indices=torch.cat(index), packed_info=info)
        return None, samples, None

    return SimpleNamespace(traverse_grids=traverse_grids)


@pytest.mark.parametrize("drift", [0.0, 0.01, -0.01])
def test_samples_of_nerfacc_go_back_to_the_lattice(drift: float) -> None:
    origins, directions, jitter = rays(60)
    arguments = (origins, directions, blobs(12, 0.2), STEP, jitter, 1.0)
    same(march_nerfacc(walker(drift), *arguments), march_reference(*arguments))


def test_a_drift_of_a_step_would_be_seen() -> None:
    origins, directions, jitter = rays(60)
    arguments = (origins, directions, blobs(12, 0.2), STEP, jitter, 1.0)
    t = march_nerfacc(walker(0.9), *arguments)[1]
    assert (t - march_reference(*arguments)[1]).abs().max() > 0.5 * STEP


def test_near_planes_miss_no_sample() -> None:
    origins, directions, jitter = rays(400)
    near = near_planes(origins, directions, STEP, jitter, 1.0)
    _, t, offsets = march_reference(origins, directions, torch.ones(8, 8, 8, dtype=torch.bool), STEP, jitter)
    hit = offsets[1:] > offsets[:-1]
    first = t[offsets[:-1][hit]]
    gap = (first - near[hit]) / STEP
    assert gap.min() > 0.49
    assert gap.max() < 2.51  # and walk at most two steps outside the grid
    torch.testing.assert_close((near / STEP - jitter + 0.5), (near / STEP - jitter + 0.5).round(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("stop", [0.0, 1e-4, 0.05])
def test_packed_compositing_agrees_with_the_table(stop: float) -> None:
    density, color, t, offsets = packed()
    theirs = [density.double().requires_grad_(), color.double().requires_grad_()]
    expected = composite_reference(*theirs, t.double(), offsets, STEP, stop)
    wanted = torch.autograd.grad(sum(o.square().sum() for o in expected[:4]), theirs)
    for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 5e-6)):
        ours = [density.to(dtype).requires_grad_(), color.to(dtype).requires_grad_()]
        seen = composite_packed(*ours, t.to(dtype), offsets, STEP, stop)
        for a, b in zip(seen, expected, strict=False):
            torch.testing.assert_close(a.double(), b, atol=tolerance, rtol=0)
        for a, b in zip(torch.autograd.grad(sum(o.square().sum() for o in seen[:4]), ours), wanted, strict=True):
            torch.testing.assert_close(a.double(), b, atol=4 * tolerance * b.abs().max().item(), rtol=0)
    assert expected[3].max() > 1e-3  # a distortion left at zero would be seen


def tiny_cuda_nn_grid(config: dict, points: Tensor, params: Tensor) -> Tensor:
    """One level of its GridEncoding (grid.h) in plain torch, with the default hash."""
    features, scale = config["n_features_per_level"], config["base_resolution"] - 1.0
    resolution = int(scale) + 1
    size = min(-(-(resolution**3) // 8) * 8, 2 ** config["log2_hashmap_size"])
    assert params.shape == (size * features,)
    at = points * scale + 0.5
    cell = at.floor()
    fraction, out = at - cell, 0.0
    for corner in range(8):
        far = torch.tensor([corner & 1, corner >> 1 & 1, corner >> 2])
        vertex = cell.long() + far
        if resolution**3 > size:
            row = vertex[:, 0] * PRIMES[0] ^ vertex[:, 1] * PRIMES[1] ^ vertex[:, 2] * PRIMES[2]
        else:
            row = vertex[:, 0] + resolution * (vertex[:, 1] + resolution * vertex[:, 2])
        weight = torch.where(far.bool(), fraction, 1 - fraction).prod(-1)
        out = out + weight[:, None] * params.view(size, features)[row % size]
    return out


@pytest.mark.parametrize("layout", [GridLayout(6, 2, 10, 3, 60), GridLayout(3, 4, 9, 5, 11)])
def test_a_level_of_our_table_is_a_grid_of_tiny_cuda_nn(layout: GridLayout) -> None:
    generator = torch.Generator().manual_seed(0)
    positions = torch.rand(300, 3, generator=generator, dtype=torch.float64)
    positions[:8] = torch.tensor([[k & 1, k >> 1 & 1, k >> 2] for k in range(8)])
    table = torch.randn(layout.table_shape, generator=generator, dtype=torch.float64)
    expected = hash_encode_torch(positions, table, layout)
    for level in range(layout.levels):
        first, last = layout.offsets[level : level + 2]
        config = hash_grid_cuda.grid_config(layout, level)
        points = hash_grid_cuda.grid_points(positions, layout, level)
        ours = tiny_cuda_nn_grid(config, points, table[first:last].reshape(-1))
        wanted = expected[:, level * layout.features : (level + 1) * layout.features]
        torch.testing.assert_close(ours, wanted, atol=1e-9, rtol=0)
        unshifted = tiny_cuda_nn_grid(config, positions, table[first:last].reshape(-1))
        assert (unshifted - wanted).abs().max() > 0.1


@pytest.mark.parametrize("widths", [(20, 32, 4), (16, 64, 64, 16), (7, 16, 1)])
def test_flat_parameters_are_the_network(widths: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(b, a, generator=generator).requires_grad_() for a, b in itertools.pairwise(widths)]
    x = torch.randn(50, widths[0], generator=generator)
    assert mlp_cuda.fits(weights)
    flat = mlp_cuda.flat_parameters(weights)
    padded = -(-widths[0] // 16) * 16
    y = torch.nn.functional.pad(x, (0, padded - widths[0]), value=1.0)  # as its identity encoding pads
    inputs, at = padded, 0
    for outputs in (*widths[1:-1], -(-widths[-1] // 16) * 16):
        matrix = flat[at : at + outputs * inputs].view(outputs, inputs)
        at += outputs * inputs
        y = y @ matrix.T if at == len(flat) else torch.relu(y @ matrix.T)
        inputs = outputs
    torch.testing.assert_close(y[:, : widths[-1]], mlp_reference(x, weights))
    gradients = torch.autograd.grad(y[:, : widths[-1]].square().sum(), weights)
    for a, b in zip(gradients, torch.autograd.grad(mlp_reference(x, weights).square().sum(), weights), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4 * b.abs().max().item(), rtol=0)
    assert not mlp_cuda.fits([weights[0]])
