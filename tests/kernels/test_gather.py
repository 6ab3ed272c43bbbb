"""Gathering, its transpose, normals of vertices, and means of neighbours."""

from __future__ import annotations

import numba
import pytest
import torch
import trimesh

from distill3d.kernels.gather import gather, sum_rows
from distill3d.kernels.neighbour_mean import neighbour_mean, neighbour_mean_reference, neighbours
from distill3d.kernels.vertex_normals import vertex_normals


def test_gather_and_its_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(9, 3, generator=generator, requires_grad=True)
    index = torch.randint(0, 9, (20, 2), generator=generator, dtype=torch.int32)
    picked = gather(values, index)
    assert torch.equal(picked, values[index.long()])
    upstream = torch.randn(picked.shape, generator=generator)
    (ours,) = torch.autograd.grad(picked, values, upstream)
    (theirs,) = torch.autograd.grad(values[index.long()], values, upstream)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_sums_are_the_transpose_of_gathering() -> None:
    generator = torch.Generator().manual_seed(1)
    rows, values = torch.randn(30, 2, generator=generator), torch.randn(7, 2, generator=generator)
    index = torch.randint(0, 7, (30,), generator=generator)
    rows.requires_grad_()
    total = (sum_rows(rows, index, 7) * values).sum()
    assert total.item() == pytest.approx((rows * gather(values, index)).sum().item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(total, rows)
    assert torch.equal(gradient, values[index])


def test_normals_of_a_ball_and_their_gradient() -> None:
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.7)
    vertices, faces = torch.tensor(ball.vertices, dtype=torch.float32), torch.tensor(ball.faces)
    normals = vertex_normals(vertices, faces)
    assert (normals * vertices / 0.7).sum(1).min() > 0.999
    assert (vertex_normals(vertices, faces[:, [0, 2, 1]]) * vertices).sum(1).max() < 0
    small = trimesh.creation.icosphere(subdivisions=0, radius=0.7)
    leaf = torch.tensor(small.vertices, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: vertex_normals(v, torch.tensor(small.faces)), [leaf])


def test_means_agree_with_the_reference_and_do_not_depend_on_threads() -> None:
    ball = trimesh.creation.icosphere(subdivisions=2)
    graph = neighbours(torch.tensor(ball.edges_unique), len(ball.vertices))
    values = torch.randn(len(ball.vertices), 4, generator=torch.Generator().manual_seed(0))
    upstream = torch.randn(values.shape, generator=torch.Generator().manual_seed(1))
    before, most, results = numba.get_num_threads(), numba.config.NUMBA_NUM_THREADS, []
    try:
        for threads in (1, most):
            numba.set_num_threads(threads)
            leaf = values.clone().requires_grad_()
            mean = neighbour_mean(leaf, graph, 3)
            results.append((mean, *torch.autograd.grad(mean, leaf, upstream)))
    finally:
        numba.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    leaf = values.double().requires_grad_()
    expected = neighbour_mean_reference(leaf, graph, 3)
    (gradient,) = torch.autograd.grad(expected, leaf, upstream.double())
    torch.testing.assert_close(results[0][0].double(), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(results[0][1].double(), gradient, atol=1e-5, rtol=0)
    assert results[0][0].std() < 0.5 * values.std()
    assert torch.equal(neighbour_mean(values, graph, 0), values)
