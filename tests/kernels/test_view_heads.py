"""Density and view-dependent colour: the torch reference's values and gradients, and a basis that is one."""

from __future__ import annotations

import pytest
import torch

from distill3d.kernels.view_heads import direction_basis, view_heads, view_heads_reference


def packed(degree: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Outputs of 90 samples on 7 rays, one of them empty, the rays' basis and offsets."""
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(90, 1 + 3 * (degree + 1) ** 2, generator=generator) * 2
    raw[3, 0] = 30.0  # beyond the largest exponent: a constant density without gradient
    directions = torch.nn.functional.normalize(torch.randn(7, 3, generator=generator), dim=-1)
    return raw, direction_basis(directions, degree), torch.tensor([0, 10, 10, 30, 31, 60, 75, 90])


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_values_and_gradients_of_the_reference(degree: int) -> None:
    raw, basis, offsets = packed(degree)
    outputs, gradients = [], []
    for heads, kind in ((view_heads, torch.float32), (view_heads_reference, torch.float64)):
        x = raw.detach().to(kind).clone().requires_grad_()
        density, color = heads(x, basis.to(kind), offsets, 3.0)
        ((density * 0.01).sin().sum() + (color * torch.arange(3)).square().sum()).backward()
        outputs.append(torch.cat([density[:, None], color], 1).double())
        gradients.append(x.grad.double())
    torch.testing.assert_close(outputs[0], outputs[1], rtol=2e-6, atol=1e-6)
    torch.testing.assert_close(gradients[0][4:], gradients[1][4:], rtol=1e-4, atol=1e-6)
    assert gradients[0][3, 0] == gradients[1][3, 0] == 0


def test_reference_gradient_by_finite_differences() -> None:
    raw, basis, offsets = packed(2)
    raw[3, 0] = 0.5
    raw = raw.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: view_heads_reference(x, basis.double(), offsets, 3.0), raw)


def test_the_wrong_ray_gives_another_colour() -> None:
    raw, basis, offsets = packed(1)
    right, wrong = (view_heads(raw, b, offsets, 1.0)[1] for b in (basis, basis.roll(1, 0)))
    assert (right - wrong).abs().max() > 0.1


def test_the_basis_is_orthogonal_with_equal_norms_on_the_sphere() -> None:
    """So that no direction and no term is preferred; the constant is 1."""
    steps = 200
    z = (torch.arange(steps).double() + 0.5) / steps * 2 - 1
    angle = torch.arange(steps).double() * 2 * torch.pi / steps
    flat = (1 - z * z).sqrt()
    directions = torch.stack(
        [flat[:, None] * angle.cos(), flat[:, None] * angle.sin(), z[:, None].expand(-1, steps)], -1
    ).view(-1, 3)
    basis = direction_basis(directions, 2)
    gram = basis.T @ basis / len(basis)
    torch.testing.assert_close(gram, torch.eye(9, dtype=torch.float64), atol=1e-3, rtol=0)
    assert (basis[:, 0] == 1).all()
