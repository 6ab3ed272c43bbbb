"""Marching through contracted space: the samples of a brute-force look-up, wherever rays start and end."""

from __future__ import annotations

import numba
import pytest
import torch

from distill3d.kernels.marching import chebyshev_distance
from distill3d.kernels.marching_unbounded import RayPath, contract, march_unbounded, t_of_s, uncontract
from distill3d.kernels.marching_unbounded_torch import march_unbounded_reference

PATH = RayPath(step=0.03, t0=0.4, near=0.05, far=60.0)


def rays(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """From inside and outside the unit ball, towards and away from it; and a jitter."""
    generator = torch.Generator().manual_seed(seed)
    origins = torch.randn(count, 3, generator=generator) * 1.5
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    directions[: count // 3] = torch.nn.functional.normalize(-origins[: count // 3], dim=-1)
    return origins, directions, torch.rand(count, generator=generator)


def blobs(n: int, share: float) -> torch.Tensor:
    return torch.rand(n, n, n, generator=torch.Generator().manual_seed(0)) < share


def reference(origins, directions, occupied, jitter):
    return march_unbounded_reference(origins, directions, occupied, PATH.step, PATH.t0, PATH.first, PATH.last, jitter)


@pytest.mark.parametrize("share", [0.0, 0.0005, 0.02, 0.5, 1.0])
def test_same_samples_as_brute_force(share: float) -> None:
    origins, directions, jitter = rays(600)
    occupied = blobs(40, share)
    samples = march_unbounded(origins, directions, chebyshev_distance(occupied), PATH, jitter)
    positions, s, stretch, offsets = reference(origins, directions, occupied, jitter)
    assert torch.equal(samples.offsets, offsets)
    torch.testing.assert_close(samples.s, s, atol=2e-6, rtol=1e-6)
    torch.testing.assert_close(samples.positions, positions, atol=2e-6, rtol=0)
    torch.testing.assert_close(samples.stretch, stretch, atol=0, rtol=1e-5)
    assert (len(s) > 0) == (share > 0)


def test_a_wrong_distance_field_loses_samples() -> None:
    """The comparison above can fail: distances two too large make the march jump over occupied cells."""
    origins, directions, jitter = rays(600)
    occupied = blobs(40, 0.002)
    distance = chebyshev_distance(occupied)
    wrong = march_unbounded(origins, directions, distance + 2 * (distance > 0).to(torch.uint8), PATH, jitter)
    assert len(wrong.s) < len(reference(origins, directions, occupied, jitter)[1])


def test_contraction_keeps_the_unit_ball_and_takes_infinity_to_radius_two() -> None:
    points = torch.tensor([[0.3, -0.2, 0.9], [0.0, 2.0, 0.0], [0.0, 0.0, -1e7]], dtype=torch.float64)
    inner, outer, far = contract(points)
    assert torch.equal(inner, points[0])
    torch.testing.assert_close(outer, torch.tensor([0.0, 1.5, 0.0], dtype=torch.float64))
    torch.testing.assert_close(far.norm(), torch.tensor(2.0, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(uncontract(contract(points[:2])), points[:2])


def test_intervals_tile_the_ray_and_their_stretch_is_their_length() -> None:
    """Between near and far nothing is missed or counted twice: the stretches times the step add up to the way."""
    everything = chebyshev_distance(torch.ones(8, 8, 8, dtype=torch.bool))
    samples = march_unbounded(torch.zeros(1, 3), torch.tensor([[0.6, 0.8, 0.0]]), everything, PATH)
    edges = t_of_s(torch.arange(PATH.first, PATH.last + 1).double() * PATH.step, PATH.t0)
    assert edges[0] >= PATH.near > edges[0] - PATH.step
    assert edges[-1] <= PATH.far
    total = (samples.stretch.double() * PATH.step).sum()
    assert total == pytest.approx(float(edges[-1] - edges[0]), rel=1e-3)


def test_clearing_a_cell_moves_no_other_sample() -> None:
    origins, directions, jitter = rays(200)
    full = torch.ones(16, 16, 16, dtype=torch.bool)
    holed = full.clone()
    holed[5:11, 5:11, 5:11] = False
    more, less = (march_unbounded(origins, directions, chebyshev_distance(o), PATH, jitter) for o in (full, holed))
    rows = torch.arange(200)
    kept = [
        set(zip(torch.repeat_interleave(rows, a.offsets.diff()).tolist(), a.s.tolist(), strict=True))
        for a in (less, more)
    ]
    assert kept[0] < kept[1]


def test_threads_do_not_change_a_bit() -> None:
    origins, directions, jitter = rays(1000)
    distance = chebyshev_distance(blobs(40, 0.02))
    before, most = numba.get_num_threads(), numba.config.NUMBA_NUM_THREADS
    try:
        results = []
        for threads in {1, most}:
            numba.set_num_threads(threads)
            results.append(march_unbounded(origins, directions, distance, PATH, jitter))
    finally:
        numba.set_num_threads(before)
    assert torch.equal(results[0].positions, results[-1].positions)
    assert torch.equal(results[0].offsets, results[-1].offsets)
