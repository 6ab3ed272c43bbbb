"""Texture lookup: the torch reference, finite differences, what minification shows."""

from __future__ import annotations

import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.kernels.rasterize import visible_triangles
from distill3d.kernels.texture import mipmaps, sample_bilinear, sample_bilinear_reference, sample_mipmaps, texture_level


def drawn(count: int = 200, size: tuple[int, int] = (16, 24)) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(*size, 3, generator=generator), torch.rand(count, 2, generator=generator) * 1.1 - 0.05


def test_values_and_gradients_of_the_reference() -> None:
    texture, uv = drawn()
    ours = [texture.clone().requires_grad_(), uv.clone().requires_grad_()]
    theirs = [texture.double().requires_grad_(), uv.double().requires_grad_()]
    seen, expected = sample_bilinear(*ours), sample_bilinear_reference(*theirs)
    torch.testing.assert_close(seen.double(), expected, atol=2e-6, rtol=0)
    upstream = torch.randn(seen.shape, generator=torch.Generator().manual_seed(1))
    wanted = torch.autograd.grad(expected, theirs, upstream.double())
    for a, b in zip(torch.autograd.grad(seen, ours, upstream), wanted, strict=True):
        torch.testing.assert_close(a.double(), b, atol=2e-5 * b.abs().max().item(), rtol=0)


def test_reference_is_right_by_finite_differences() -> None:
    texture, uv = drawn(20, (4, 6))
    inside = uv.double().clamp(0.2, 0.8).requires_grad_()
    assert torch.autograd.gradcheck(sample_bilinear_reference, [texture.double().requires_grad_(), inside])


def test_corners_lie_where_the_convention_says() -> None:
    texture = torch.zeros(8, 8, 3)
    texture[-1, 0, 0] = 1  # the last row is at the bottom, where v is 0
    assert sample_bilinear(texture, torch.tensor([[0.0, 0.0]]))[0, 0] == 1
    assert sample_bilinear(texture, torch.tensor([[0.0, 1.0]]))[0, 0] == 0


def test_a_fine_checkerboard_turns_grey_and_a_coarse_one_does_not() -> None:
    board = ((torch.arange(64)[:, None] + torch.arange(64)) % 2).float()[..., None].expand(-1, -1, 3).contiguous()
    levels = mipmaps(board)
    assert [len(level) for level in levels] == [64, 32, 16, 8, 4]
    _, uv = drawn()
    sharp, blurred = (sample_mipmaps(levels, uv, torch.full((len(uv),), k)) for k in (0.0, 1.0))
    assert sharp.std() > 0.15
    torch.testing.assert_close(blurred, torch.full_like(blurred, 0.5))
    half = sample_mipmaps(levels, uv, torch.full((len(uv),), 0.5))
    torch.testing.assert_close(half, (sharp + blurred) / 2)


def test_gradient_reaches_the_texture_through_the_pyramid() -> None:
    texture, uv = drawn(size=(16, 16))
    texture.requires_grad_()
    level = torch.rand(len(uv), generator=torch.Generator().manual_seed(2)) * 2
    sample_mipmaps(mipmaps(texture), uv, level).sum().backward()
    assert texture.grad.sum().item() == pytest.approx(3 * len(uv), rel=1e-4)


def test_level_is_the_footprint_of_a_pixel() -> None:
    vertices = torch.tensor([[0.0, -0.5, -0.5], [0.0, 0.5, -0.5], [0.0, 0.5, 0.5], [0.0, -0.5, 0.5]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32)
    uv = torch.tensor([[0.0, 0.0], [1, 0], [1, 1], [0, 1]])
    for size, texels in ((64, 64), (64, 256), (32, 64)):
        cameras = Cameras.orbit(0.0, 0.0, 3.0, 0.75, size)
        triangle = visible_triangles(vertices, faces, cameras)
        level = texture_level(uv, vertices, faces, triangle, cameras, (texels, texels))
        pixel = 3.0 / cameras.intrinsics[0, 0, 0].item()  # world units, straight on
        expected = torch.tensor(pixel * texels).log2()
        torch.testing.assert_close(level[triangle >= 0], expected.expand((triangle >= 0).sum()), atol=1e-3, rtol=0)
    slanted = Cameras.orbit(1.4, 0.0, 3.0, 0.75, 64)
    triangle = visible_triangles(vertices, faces, slanted)
    level = texture_level(uv, vertices, faces, triangle, slanted, (64, 64))
    assert level[triangle >= 0].min() > 1.5  # the longer side of the footprint counts
