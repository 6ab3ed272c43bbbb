"""Splatting: closed forms, the torch reference in float64, finite differences, and the same bits on any threads."""

from __future__ import annotations

import math

import numba
import pytest
import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.kernels.spherical_harmonics import constant_of_color
from distill3d.kernels.splatting import splat
from distill3d.kernels.splatting_torch import composite_reference, project_reference
from tests.kernels.splat_scene import HEIGHT, WIDTH, cameras, gaussians

NAMES = ("means", "quats", "log-scales", "logits", "sh", "pose", "screen")


def kernel(leaves: list[Tensor], views: Cameras, degree: int | None = None) -> tuple[Tensor, ...]:
    *scene, pose, screen = leaves
    seen = splat(*scene, pose, views.intrinsics, views.height, views.width, degree, screen)
    return seen.rgb, seen.alpha, seen.depth


def reference(leaves: list[Tensor], views: Cameras, degree: int = 3) -> tuple[Tensor, ...]:
    means, quats, scales, logits, sh, pose, screen = leaves
    size = (views.height, views.width)
    projected = project_reference(means, quats, scales, sh, degree, pose, views.intrinsics.to(means), *size)
    return composite_reference(projected, logits, *size, screen)


def leaves_of(scene: list[Tensor], views: Cameras, kind: torch.dtype) -> list[Tensor]:
    screen = torch.zeros(len(views), len(scene[0]), 2)
    return [a.to(kind).clone().requires_grad_() for a in (*scene, views.camera_to_world, screen)]


def upstream(outputs: tuple[Tensor, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(o.shape, generator=generator).to(o) for o in outputs]


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_pictures_and_gradients_of_the_reference(degree: int) -> None:
    scene, views = gaussians(degree=degree), cameras()
    ours, theirs = leaves_of(scene, views, torch.float32), leaves_of(scene, views, torch.float64)
    seen, expected = kernel(ours, views), reference(theirs, views, degree)
    for a, b, tolerance in zip(seen, expected, (1e-5, 1e-5, 5e-5), strict=True):
        torch.testing.assert_close(a.double(), b, atol=tolerance, rtol=0)
    gradients = torch.autograd.grad(seen, ours, upstream(seen))
    wanted = torch.autograd.grad(expected, theirs, upstream(expected))
    for name, a, b in zip(NAMES, gradients, wanted, strict=True):
        assert (a - b).abs().max() <= 1e-4 * b.abs().max(), name
        assert b.abs().max() > 0, name  # else nothing was compared


def test_depth_alone_and_colour_alone_carry_gradient() -> None:
    scene, views = gaussians(), cameras(1)
    for k in range(3):
        ours, theirs = leaves_of(scene, views, torch.float32), leaves_of(scene, views, torch.float64)
        a, b = kernel(ours, views)[k], reference(theirs, views)[k]
        inputs = slice(0, 4)
        got = torch.autograd.grad(a, ours[inputs], upstream((a,)))
        wanted = torch.autograd.grad(b, theirs[inputs], upstream((b,)))
        for g, w in zip(got, wanted, strict=True):
            assert (g - w).abs().max() <= 1e-4 * w.abs().max()


def test_reference_gradients_by_finite_differences() -> None:
    """The oracle itself: one scalar of the picture against central differences in float64."""
    scene, views = gaussians(count=6), cameras(1, (12, 12))
    leaves = leaves_of(scene, views, torch.float64)
    generator = torch.Generator().manual_seed(3)
    weights = [torch.randn(s, generator=generator).double() for s in ((1, 12, 12, 3), (1, 12, 12), (1, 12, 12))]

    def total(values: list[Tensor]) -> Tensor:
        return sum((o * w).sum() for o, w in zip(reference(values, views), weights, strict=True))

    gradients = torch.autograd.grad(total(leaves), leaves)
    for index, gradient in enumerate(gradients[:5]):
        direction = torch.randn(gradient.shape, generator=generator).double()
        shifted = [[(p + s * 1e-6 * direction) if i == index else p for i, p in enumerate(leaves)] for s in (1, -1)]
        numeric = (total(shifted[0]) - total(shifted[1])) / 2e-6
        assert numeric.item() == pytest.approx((gradient * direction).sum().item(), rel=1e-4, abs=1e-5)


def test_one_round_gaussian_is_the_closed_form() -> None:
    size, scale, distance, opacity = 33, 0.08, 3.0, 0.7
    views = Cameras.orbit(0.0, 0.0, distance, 0.6, size)
    color = torch.tensor([0.2, 0.5, 0.9])
    seen = splat(
        torch.zeros(1, 3), torch.tensor([[2.0, 0, 0, 0]]), torch.full((1, 3), math.log(scale)),
        torch.tensor([math.log(opacity / (1 - opacity))]), constant_of_color(color)[None, None],
        views.camera_to_world, views.intrinsics, size, size,
    )  # fmt: skip
    focal = float(views.intrinsics[0, 0, 0])
    variance = (focal * scale / distance) ** 2 + 0.3
    v, u = torch.meshgrid(torch.arange(size) - 16.0, torch.arange(size) - 16.0, indexing="ij")
    alpha = opacity * torch.exp(-0.5 * (u * u + v * v) / variance)
    alpha = alpha * (alpha >= 1 / 255)
    torch.testing.assert_close(seen.alpha[0], alpha, atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.rgb[0], alpha[..., None] * color, atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.depth[0], alpha * distance, atol=1e-4, rtol=0)
    assert seen.radius.item() == pytest.approx(math.sqrt(2 * math.log(255 * opacity) * variance), rel=1e-4)


def test_order_of_the_gaussians_does_not_matter_and_their_depth_does() -> None:
    scene, views = gaussians(), cameras(1)
    leaves = leaves_of(scene, views, torch.float32)
    turned = leaves_of([a.flip(0) for a in scene], views, torch.float32)
    torch.testing.assert_close(kernel(leaves, views)[0], kernel(turned, views)[0], atol=1e-6, rtol=0)
    mirrored = [-scene[0], *scene[1:]]  # front and back exchanged
    other = kernel(leaves_of(mirrored, views, torch.float32), views)[0]
    assert (kernel(leaves, views)[0] - other).abs().max() > 0.1


@pytest.mark.parametrize("count", [1, 7, 8, 9, 1030])
def test_any_number_of_gaussians(count: int) -> None:
    scene, views = gaussians(count), cameras(2, (16, 16))
    ours, theirs = leaves_of(scene, views, torch.float32), leaves_of(scene, views, torch.float64)
    seen, expected = kernel(ours, views), reference(theirs, views)
    assert (seen[0] - expected[0]).abs().max() < 1e-3 if count > 1000 else 1e-5
    gradients = torch.autograd.grad(seen, ours, upstream(seen))
    wanted = torch.autograd.grad(expected, theirs, upstream(expected))
    for name, a, b in zip(NAMES, gradients, wanted, strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= 2e-3 * b.abs().max() + 1e-12, name  # of 1030 a few lie at the 1/255


def test_nobody_in_sight() -> None:
    scene, views = gaussians(20), cameras(2, (16, 16))
    behind = [scene[0] * 0 + views.position[0] * 3, *scene[1:]]
    leaves = leaves_of(behind, views[0], torch.float32)
    seen = kernel(leaves, views[0])
    assert all((o == 0).all() for o in seen)
    assert all((g == 0).all() for g in torch.autograd.grad(seen, leaves, upstream(seen)))


def test_wild_values_do_no_harm() -> None:
    scene, views = gaussians(64), cameras(1, (40, 40))
    means, quats, scales, logits, sh = (a.clone() for a in scene)
    means[0], means[1] = views.position[0] * 0.999, views.position[0] + 1e-3  # at the near plane
    scales[2], scales[3] = 5.0, -30.0
    logits[4], logits[5] = 80.0, -80.0
    quats[6] *= 1e-9
    means[7] = 1e6
    leaves = leaves_of([means, quats, scales, logits, sh], views, torch.float32)
    seen = kernel(leaves, views)
    assert all(o.isfinite().all() for o in seen)
    assert seen[1].max() <= 1
    assert all(g.isfinite().all() for g in torch.autograd.grad(seen, leaves, upstream(seen)))


def test_threads_do_not_change_a_bit() -> None:
    scene, views = gaussians(3000), cameras(2, (100, 130))
    before, most = numba.get_num_threads(), numba.config.NUMBA_NUM_THREADS
    results = []
    try:
        for threads in range(1, most + 1):
            numba.set_num_threads(threads)
            leaves = leaves_of(scene, views, torch.float32)
            seen = kernel(leaves, views)
            results.append([*seen, *torch.autograd.grad(seen, leaves, upstream(seen))])
    finally:
        numba.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_harmonics_must_fit_the_degree() -> None:
    scene, views = gaussians(10, degree=1), cameras(1)
    with pytest.raises(ValueError, match="4 coefficients"):
        kernel(leaves_of(scene, views, torch.float32), views, degree=2)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu() -> None:
    scene, views = gaussians(2000), cameras()
    here = leaves_of(scene, views, torch.float32)
    there = [a.detach().cuda().requires_grad_() for a in here]
    a, b = kernel(here, views), kernel(there, views.to("cuda"))
    off = (a[0] - b[0].cpu()).abs().amax(-1)
    assert off.quantile(0.999) < 2e-4
    got = torch.autograd.grad(b, there[:6], upstream(b), allow_unused=True)
    for name, x, y in zip(NAMES, torch.autograd.grad(a, here[:6], upstream(a)), got, strict=False):
        assert (x - y.cpu()).abs().max() < 1e-2 * x.abs().max(), name


def test_a_camera_outside_the_tiles_grid_is_cropped_right() -> None:
    """A picture of 70 columns is the left of one of 96, pixel for pixel."""
    scene, views = gaussians(), cameras(1)
    wide = Cameras(views.camera_to_world, views.intrinsics, 64, 96)
    small = kernel(leaves_of(scene, views, torch.float32), views)[0]
    large = kernel(leaves_of(scene, wide, torch.float32), wide)[0]
    inner = large[:, :HEIGHT, :WIDTH]
    # the Jacobian is held within the picture's margin: nothing here lies beyond it
    torch.testing.assert_close(small, inner, atol=1e-6, rtol=0)
