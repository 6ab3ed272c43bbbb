"""Spherical harmonics: orthonormal on the sphere, and the same as gsplat's."""

from __future__ import annotations

import math

import pytest
import torch

from distill3d.kernels.spherical_harmonics import color_of_constant, constant_of_color, degree_of, sh_basis, sh_color


def sphere(count: int = 4000) -> torch.Tensor:
    up = (torch.arange(count).double() + 0.5) / count * 2 - 1
    turn = torch.arange(count).double() * math.pi * (3 - math.sqrt(5))
    flat = (1 - up * up).sqrt()
    return torch.stack([flat * turn.cos(), flat * turn.sin(), up], -1)


def test_orthonormal() -> None:
    basis = sh_basis(sphere(), 3)
    gram = basis.T @ basis * (4 * math.pi / len(basis))
    torch.testing.assert_close(gram, torch.eye(16).double(), atol=2e-3, rtol=0)
    wrong = basis * torch.linspace(0.9, 1.1, 16).double()  # negative control
    assert (wrong.T @ wrong * (4 * math.pi / len(basis)) - torch.eye(16).double()).abs().max() > 0.1


def test_the_same_basis_as_gsplat() -> None:
    pytest.importorskip("gsplat")
    from gsplat.cuda._torch_impl import _eval_sh_bases_fast

    torch.testing.assert_close(sh_basis(sphere(200), 3), _eval_sh_bases_fast(16, sphere(200)), atol=1e-7, rtol=0)


def test_colours() -> None:
    color = torch.rand(5, 3)
    torch.testing.assert_close(color_of_constant(constant_of_color(color)), color)
    coefficients = torch.zeros(5, 4, 3)
    coefficients[:, 0] = constant_of_color(color)
    torch.testing.assert_close(sh_color(coefficients, sphere(5).float(), 1), color)
    assert (sh_color(coefficients - 9, sphere(5).float(), 0) == 0).all()
    assert [degree_of(k) for k in (1, 4, 9, 16, 5)] == [0, 1, 2, 3, -1]
