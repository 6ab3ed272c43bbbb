"""Marching: the same samples as looking up every lattice point, from fewer look-ups."""

from __future__ import annotations

import numba
import pytest
import torch

from distill3d.kernels import marching
from distill3d.kernels.marching import chebyshev_distance, march
from distill3d.kernels.marching_torch import march_reference
from distill3d.kernels.skip_distance import DEEPEST, _depth, _radius

STEP = 2 / 61


def rays(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """From outside and inside the cube, in all directions, some along an axis; and a jitter."""
    generator = torch.Generator().manual_seed(seed)
    origins = torch.randn(count, 3, generator=generator) * 1.5
    towards = torch.rand(count, 3, generator=generator) * 2 - 1 - origins
    towards[: count // 8] = torch.eye(3)[torch.arange(count // 8) % 3]
    jitter = torch.rand(count, generator=generator)
    return origins, torch.nn.functional.normalize(towards, dim=-1), jitter


def blobs(n: int, share: float, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, n, n, generator=torch.Generator().manual_seed(seed)) < share


@pytest.mark.parametrize("share", [0.0, 0.001, 0.05, 0.6, 1.0])
def test_same_samples_as_brute_force(share: float) -> None:
    origins, directions, jitter = rays(400)
    occupied = blobs(24, share)
    samples = march(origins, directions, chebyshev_distance(occupied), STEP, jitter)
    positions, t, offsets = march_reference(origins, directions, occupied, STEP, jitter)
    assert torch.equal(samples.offsets, offsets)
    torch.testing.assert_close(samples.t, t, atol=1e-6, rtol=0)
    torch.testing.assert_close(samples.positions, positions, atol=1e-6, rtol=0)
    assert (len(t) > 0) == (share > 0)


def test_a_wrong_distance_field_loses_samples() -> None:
    """The comparison above can fail: distances one too large make the march jump over occupied cells."""
    origins, directions, jitter = rays(400)
    occupied = blobs(24, 0.01)
    distance = chebyshev_distance(occupied)
    wrong = march(origins, directions, distance + (distance > 0).to(torch.uint8), STEP, jitter)
    assert len(wrong.t) < len(march_reference(origins, directions, occupied, STEP, jitter)[1])


def test_distance_is_chebyshev() -> None:
    occupied = blobs(12, 0.003)
    cells = torch.stack(torch.meshgrid(*[torch.arange(12)] * 3, indexing="ij"), -1)
    gaps = (cells[..., None, :] - occupied.nonzero()).abs().amax(-1).amin(-1)
    assert torch.equal(chebyshev_distance(occupied).long(), gaps)


def test_clearing_a_cell_moves_no_other_sample() -> None:
    origins, directions, jitter = rays(200)
    full = torch.ones(16, 16, 16, dtype=torch.bool)
    holed = full.clone()
    holed[4:9, 4:9, 4:9] = False
    more, less = (march(origins, directions, chebyshev_distance(o), STEP, jitter) for o in (full, holed))
    kept = set(zip(less.ray_index.tolist(), less.t.tolist(), strict=True))
    assert kept < set(zip(more.ray_index.tolist(), more.t.tolist(), strict=True))


def test_threads_do_not_change_a_bit() -> None:
    origins, directions, jitter = rays(1000)
    distance = chebyshev_distance(blobs(24, 0.05))
    most = numba.get_num_threads()
    try:
        results = []
        for threads in {1, most}:
            numba.set_num_threads(threads)
            results.append(march(origins, directions, distance, STEP, jitter))
    finally:
        numba.set_num_threads(most)
    assert torch.equal(results[0].positions, results[-1].positions)
    assert torch.equal(results[0].offsets, results[-1].offsets)


def test_a_grid_written_to_is_read_anew() -> None:
    """What the march prepares from a grid is kept, and must not outlive a refresh."""
    origins, directions, jitter = rays(300)
    distance = chebyshev_distance(blobs(24, 0.01))
    before = march(origins, directions, distance, STEP, jitter)
    other = blobs(24, 0.3, seed=1)
    distance.copy_(chebyshev_distance(other))
    after = march(origins, directions, distance, STEP, jitter)
    assert torch.equal(after.offsets, march_reference(origins, directions, other, STEP, jitter)[2])
    assert not torch.equal(after.offsets, before.offsets)
    with torch.inference_mode():  # such tensors have no version: nothing is kept
        grid = chebyshev_distance(other)
        assert torch.equal(march(origins, directions, grid, STEP, jitter).offsets, after.offsets)


@pytest.mark.parametrize("share", [0.7, 0.98])
def test_depth_counts_erosions(share: float) -> None:
    occupied = blobs(12, share)
    cells = torch.stack(torch.meshgrid(*[torch.arange(12)] * 3, indexing="ij"), -1)
    gaps = (cells[..., None, :] - (~occupied).nonzero()).abs().amax(-1).amin(-1)
    assert torch.equal(torch.from_numpy(_depth(occupied.numpy())).long(), gaps.clamp(max=DEEPEST))


def test_the_ball_around_the_occupied_cells_holds_them_and_touches_one() -> None:
    occupied, center = blobs(12, 0.01), torch.tensor([5.0, 6.5, 4.0])
    corners = torch.stack(torch.meshgrid(*[torch.arange(2)] * 3, indexing="ij"), -1).reshape(-1, 3)
    farthest = (occupied.nonzero()[:, None] + corners - center).norm(dim=-1).max()
    assert _radius(occupied.numpy(), center.numpy()) == pytest.approx(farthest.item(), rel=1e-6)
    assert _radius(torch.zeros_like(occupied).numpy(), center.numpy()) == 0


def test_a_ball_too_small_loses_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the comparison with brute force above does ask whether the ball is large enough."""
    origins, directions, jitter = rays(400)
    distance = chebyshev_distance(blobs(24, 0.05))
    whole, skips = march(origins, directions, distance, STEP, jitter), marching.skips
    monkeypatch.setattr(marching, "skips", lambda grid: (*skips(grid)[:2], 0.9 * skips(grid)[2]))
    assert 0 < len(march(origins, directions, distance, STEP, jitter).t) < len(whole.t)


def test_a_ray_does_not_depend_on_its_neighbours() -> None:
    """Rays are marched eight side by side and shared out in blocks: neither shows, also in a last, partial eight."""
    origins, directions, jitter = rays(301)
    distance = chebyshev_distance(blobs(24, 0.05))
    whole = march(origins, directions, distance, STEP, jitter)
    order = torch.randperm(301, generator=torch.Generator().manual_seed(3))
    shuffled = march(origins[order], directions[order], distance, STEP, jitter[order])
    for place, ray in enumerate(order.tolist()):
        a, b = (slice(int(o[k]), int(o[k + 1])) for o, k in ((whole.offsets, ray), (shuffled.offsets, place)))
        assert torch.equal(whole.t[a], shuffled.t[b])
        assert torch.equal(whole.positions[a], shuffled.positions[b])
    assert not torch.equal(whole.offsets, shuffled.offsets)


def test_no_jitter_is_the_middle() -> None:
    origins, directions, jitter = rays(100)
    distance = chebyshev_distance(blobs(24, 0.05))
    middle = march(origins, directions, distance, STEP)
    same = march(origins, directions, distance, STEP, torch.full((100,), 0.5))
    assert torch.equal(middle.t, same.t)
    assert torch.equal(middle.positions, same.positions)
    assert not torch.equal(middle.offsets, march(origins, directions, distance, STEP, jitter).offsets)
