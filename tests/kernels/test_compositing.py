"""Compositing: physics, a torch reference, and nerfacc's dense functions."""

from __future__ import annotations

import math

import numba
import pytest
import torch
from torch import Tensor

from distill3d.kernels.compositing import composite
from distill3d.kernels.compositing_torch import composite_reference, surface_reference

STEP = 0.02


def packed(rays: int = 60, longest: int = 40, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """density [N], color [N, 3], t [N], offsets [R + 1]; some rays are empty, some opaque."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, longest, (rays,), generator=generator)
    counts[::7] = 0
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    total = int(offsets[-1])
    index = torch.repeat_interleave(torch.arange(rays), counts)
    density = torch.rand(total, generator=generator) * 30 * (index % 5)
    t = 2 + STEP * (torch.arange(total) - offsets[:-1][index]).float()
    return density, torch.rand(total, 3, generator=generator), t, offsets


def test_slab_absorbs_as_beer_and_lambert_say() -> None:
    density, length, samples = 3.0, 0.5, 25
    t = torch.arange(samples) * STEP + 1
    color = torch.tensor([0.2, 0.5, 0.9]).expand(samples, 3)
    seen = composite(torch.full((samples,), density), color, t, torch.tensor([0, samples]), STEP, stop=0)
    expected = 1 - math.exp(-density * length)
    assert seen.alpha.item() == pytest.approx(expected, abs=1e-6)
    torch.testing.assert_close(seen.rgb[0], color[0] * expected, atol=1e-6, rtol=0)


def test_weights_and_what_passes_sum_to_one() -> None:
    density, color, t, offsets = packed()
    seen = composite(density, color, t, offsets, STEP, stop=0)
    optical = torch.cat([torch.zeros(1, dtype=torch.float64), (density.double() * STEP).cumsum(0)])
    passed = torch.exp(-(optical[offsets[1:]] - optical[offsets[:-1]]))
    weights = torch.cat([torch.zeros(1, dtype=torch.float64), seen.weights.double().cumsum(0)])
    torch.testing.assert_close(
        weights[offsets[1:]] - weights[offsets[:-1]] + passed, torch.ones(60).double(), atol=2e-6, rtol=0
    )
    assert (seen.alpha[offsets[1:] == offsets[:-1]] == 0).all()


@pytest.mark.parametrize("stop", [0.0, 1e-4, 0.05])
def test_values_and_gradients_of_the_reference(stop: float) -> None:
    density, color, t, offsets = packed()
    ours = [density.clone().requires_grad_(), color.clone().requires_grad_()]
    theirs = [density.double().requires_grad_(), color.double().requires_grad_()]
    seen = composite(*ours, t, offsets, STEP, stop)
    expected = composite_reference(*theirs, t.double(), offsets, STEP, stop)
    for a, b in zip(seen, expected, strict=False):
        torch.testing.assert_close(a.double(), b, atol=3e-6, rtol=0)
    assert torch.equal(seen.surface, surface_reference(seen.weights, t, offsets))
    upstream = [torch.randn(o.shape, generator=torch.Generator().manual_seed(1)) for o in expected[:4]]
    gradients = torch.autograd.grad(seen[:4], ours, upstream)
    wanted = torch.autograd.grad(expected[:4], theirs, [u.double() for u in upstream])
    for a, b in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(a.double(), b, atol=1e-5 * b.abs().max().item(), rtol=0)


def test_the_order_of_samples_matters() -> None:
    """Negative control of the comparisons: a reversed ray does not agree."""
    density, color, t, offsets = (
        torch.tensor([5.0, 60.0]),
        torch.eye(3)[:2],
        torch.tensor([1.0, 1.02]),
        torch.tensor([0, 2]),
    )
    seen = composite(density, color, t, offsets, STEP)
    turned = composite(density.flip(0), color.flip(0), t, offsets, STEP)
    assert (seen.rgb - turned.rgb).abs().max() > 0.05


def test_dense_nerfacc_agrees() -> None:
    nerfacc = pytest.importorskip("nerfacc")
    generator = torch.Generator().manual_seed(2)
    density = (torch.rand(30, 20, generator=generator) * 40).requires_grad_()
    color = torch.rand(30, 20, 3, generator=generator).requires_grad_()
    t = (2 + STEP * torch.arange(20.0)).expand(30, 20)
    weights, _, _ = nerfacc.render_weight_from_density(t - STEP / 2, t + STEP / 2, density)
    rgb = nerfacc.accumulate_along_rays(weights, color)
    depth = nerfacc.accumulate_along_rays(weights, t[..., None])[:, 0]
    offsets = torch.arange(31) * 20
    flat = [density.detach().flatten().requires_grad_(), color.detach().reshape(-1, 3).requires_grad_()]
    seen = composite(*flat, t.reshape(-1), offsets, STEP, stop=0)
    torch.testing.assert_close(seen.rgb, rgb, atol=3e-6, rtol=0)
    torch.testing.assert_close(seen.depth, depth, atol=1e-5, rtol=0)
    upstream = torch.randn(30, 3, generator=generator)
    wanted = torch.autograd.grad(rgb, [density, color], upstream)
    for a, b in zip(torch.autograd.grad(seen.rgb, flat, upstream), wanted, strict=True):
        torch.testing.assert_close(a, b.reshape(a.shape), atol=1e-5, rtol=1e-4)


def test_threads_do_not_change_a_bit() -> None:
    density, color, t, offsets = packed(rays=2000)
    most = numba.get_num_threads()
    results = []
    try:
        for threads in (1, most):
            numba.set_num_threads(threads)
            d, c = density.clone().requires_grad_(), color.clone().requires_grad_()
            seen = composite(d, c, t, offsets, STEP)
            results.append([*seen, *torch.autograd.grad(seen.rgb.sum() + seen.distortion.sum(), [d, c])])
    finally:
        numba.set_num_threads(most)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_no_samples_at_all() -> None:
    density = torch.zeros(0, requires_grad=True)
    seen = composite(density, torch.zeros(0, 3), torch.zeros(0), torch.zeros(5, dtype=torch.int64), STEP)
    seen.rgb.sum().backward()
    assert seen.alpha.tolist() == [0, 0, 0, 0]


def test_nan_and_huge_densities() -> None:
    """NaN stays on its ray, and a density beyond all bounds is a wall."""
    density, color, t, offsets = packed()
    index = torch.repeat_interleave(torch.arange(60), offsets[1:] - offsets[:-1])
    density[index == 11] = 1e30
    density[(index == 17).nonzero()[0]] = float("nan")
    seen = composite(density, color, t, offsets, STEP)
    assert seen.alpha[11] == 1
    assert seen.rgb.isnan().any(-1).nonzero().flatten().tolist() == [17]


def test_gradients_from_one_output_alone() -> None:
    density, color, t, offsets = packed()
    density.requires_grad_(), color.requires_grad_()
    for name in ("rgb", "alpha", "depth", "distortion"):
        seen = composite(density, color, t, offsets, STEP)
        reference = composite_reference(density, color, t, offsets, STEP, 1e-4)
        place = ("rgb", "alpha", "depth", "distortion").index(name)
        ours = torch.autograd.grad(getattr(seen, name).sum(), [density, color], allow_unused=True)
        theirs = torch.autograd.grad(reference[place].sum(), [density, color], allow_unused=True)
        for a, b in zip(ours, theirs, strict=True):
            wanted = torch.zeros_like(a) if b is None else b
            torch.testing.assert_close(a, wanted, atol=2e-5 * max(wanted.abs().max().item(), 1e-3), rtol=0)


@pytest.mark.parametrize(("optical", "start"), [(0.3, 2.0), (1e-4, 2.0), (3.0, 60.0)])
def test_long_rays_keep_their_digits(optical: float, start: float) -> None:
    """Thousands of samples, and rays that begin far away: no error grows with either."""
    generator = torch.Generator().manual_seed(4)
    count = 3001
    density = (0.5 + torch.rand(count, generator=generator)) * optical / (count * STEP)
    color = torch.rand(count, 3, generator=generator)
    t = start + STEP * torch.arange(count) / 20
    offsets = torch.tensor([0, count])
    ours = [density.clone().requires_grad_(), color.clone().requires_grad_()]
    theirs = [density.double().requires_grad_(), color.double().requires_grad_()]
    seen = composite(*ours, t, offsets, STEP, stop=0)
    expected = composite_reference(*theirs, t.double(), offsets, STEP)
    for place in (0, 1, 3, 4):
        torch.testing.assert_close(seen[place].double(), expected[place], atol=3e-6, rtol=0)
    torch.testing.assert_close(seen.depth.double(), expected[2], atol=3e-6, rtol=2e-7)  # what float32 holds
    upstream = [torch.randn(o.shape, generator=generator) for o in expected[:4]]
    gradients = torch.autograd.grad(seen[:4], ours, upstream)
    wanted = torch.autograd.grad(expected[:4], theirs, [u.double() for u in upstream])
    for a, b in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(a.double(), b, atol=1e-5 * b.abs().max().item(), rtol=0)


def test_single_precision_loses_long_rays() -> None:
    """Negative control of the above: transmittance as a running product in float32 is further off than is promised."""
    passes = torch.exp(-torch.full((3001,), 1e-4))
    assert abs(passes.cumprod(0)[-1].double() - math.exp(-1e-4 * 3001)).item() > 3e-6


@pytest.mark.parametrize("stop", [0.0, 0.05])
def test_a_ray_does_not_depend_on_its_neighbours(stop: float) -> None:
    """All lengths from 0 to 40, in one call and each alone: the same bits; a ray of NaN between them changes none."""
    generator = torch.Generator().manual_seed(5)
    counts = torch.arange(41)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    total = int(offsets[-1])
    density, color = torch.rand(total, generator=generator) * 20, torch.rand(total, 3, generator=generator)
    t = 2 + STEP * torch.arange(total).float()
    for bad in (17, 33):
        density[offsets[bad] : offsets[bad + 1]], color[offsets[bad] : offsets[bad + 1]] = math.nan, math.nan

    def results(first: int, last: int) -> list[Tensor]:
        a, b = int(offsets[first]), int(offsets[last])
        leaves = [density[a:b].clone().requires_grad_(), color[a:b].clone().requires_grad_()]
        seen = composite(*leaves, t[a:b].clone(), offsets[first : last + 1] - a, STEP, stop)
        loss = seen.rgb.sum() + seen.depth.sum() + seen.distortion.sum()
        return [*(x.detach() for x in seen), *torch.autograd.grad(loss, leaves)]

    together = results(0, 41)
    for ray in range(41):
        samples, row = slice(int(offsets[ray]), int(offsets[ray + 1])), slice(ray, ray + 1)
        places = [row, row, row, row, samples, row, samples, samples]
        for whole, place, alone in zip(together, places, results(ray, ray + 1), strict=True):
            torch.testing.assert_close(whole[place], alone, atol=0, rtol=0, equal_nan=True)
        assert together[0][ray].isnan().any() == (ray in (17, 33))


def test_what_lies_behind_the_stop_is_not_looked_at() -> None:
    density, color, t, offsets = (
        torch.full((40,), 50.0),
        torch.rand(40, 3, generator=torch.Generator().manual_seed(6)),
        2 + STEP * torch.arange(40.0),
        torch.tensor([0, 40]),
    )
    clean = composite(density, color, t, offsets, STEP)
    behind = int((clean.weights > 0).sum())
    assert 8 < behind < 16
    color[behind:], density[behind:] = math.nan, math.nan
    seen = composite(density.requires_grad_(), color.requires_grad_(), t, offsets, STEP)
    assert all(torch.equal(a, b) for a, b in zip(seen, clean, strict=True))
    gradients = torch.autograd.grad(seen.rgb.sum() + seen.distortion.sum(), [density, color])
    assert all(g[:behind].abs().min() > 0 and (g[behind:] == 0).all() for g in gradients)
    color = color.detach().clone()
    color[behind - 1] = math.nan  # the last one that counts
    assert composite(density, color, t, offsets, STEP).rgb.isnan().all()
