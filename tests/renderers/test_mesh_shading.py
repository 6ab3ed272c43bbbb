"""Light on surfaces: integrals over the sphere, a white room, gradients."""

from __future__ import annotations

import math

import pytest
import torch

from distill3d.renderers.mesh_shading import (
    environment_brdf,
    harmonics,
    irradiance,
    metallic_roughness,
    reflected,
    white_environment,
)


def sphere(count: int = 40_000) -> torch.Tensor:
    """Directions [count, 3], even over the sphere."""
    k = torch.arange(count, dtype=torch.float64)
    z, turn = 1 - 2 * (k + 0.5) / count, k * math.pi * (3 - math.sqrt(5))
    flat = (1 - z * z).sqrt()
    return torch.stack([flat * turn.cos(), flat * turn.sin(), z], 1)


def room() -> torch.Tensor:
    return torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.3


def test_harmonics_are_orthonormal() -> None:
    basis = harmonics(sphere())
    gram = basis.T @ basis * (4 * math.pi / len(basis))
    torch.testing.assert_close(gram, torch.eye(9, dtype=torch.float64), atol=1e-4, rtol=0)


def test_irradiance_is_the_integral_over_the_half_sphere() -> None:
    directions, normal = sphere(), torch.nn.functional.normalize(torch.tensor([[0.3, -0.5, 0.7]]).double(), dim=-1)
    cosine = (directions @ normal[0]).clamp(min=0)
    expected = (cosine[:, None] * (harmonics(directions) @ room())).mean(0) * 4  # 4 pi / pi
    torch.testing.assert_close(irradiance(normal, room())[0], expected, atol=2e-3, rtol=0)


def test_a_mirror_shows_the_room_and_a_rough_one_its_mean() -> None:
    directions = sphere(50)
    smooth, rough = (reflected(directions, torch.full((50,), r).double(), room()) for r in (0.0, 1.0))
    torch.testing.assert_close(smooth, harmonics(directions) @ room())
    assert rough.std(0).max() < 0.5 * smooth.std(0).max()


def test_split_sum_table_is_the_integral_of_the_reflectance() -> None:
    """Scale and bias against a sum over GGX half vectors (Karis 2013), at random."""
    generator = torch.Generator().manual_seed(0)
    for roughness in (0.3, 0.6, 1.0):
        for facing in (0.3, 0.7, 1.0):
            u, v = torch.rand(2, 20_000, generator=generator, dtype=torch.float64)
            a2 = roughness**4
            cosine = ((1 - u) / (1 + (a2 - 1) * u)).sqrt()
            sine, turn = (1 - cosine**2).sqrt(), 2 * math.pi * v
            half = torch.stack([sine * turn.cos(), sine * turn.sin(), cosine], 1)
            view = torch.tensor([(1 - facing**2) ** 0.5, 0.0, facing], dtype=torch.float64)
            v_h = (half @ view).clamp(min=1e-6)
            n_l = 2 * v_h * cosine - facing
            k = roughness**2 / 2
            visible = n_l.clamp(min=0) / (n_l.clamp(min=0) * (1 - k) + k) * facing / (facing * (1 - k) + k)
            weight = torch.where(n_l > 0, visible * v_h / (cosine * facing), 0.0)
            fresnel = (1 - v_h) ** 5
            scale, bias = environment_brdf(torch.tensor(roughness), torch.tensor(facing))
            assert scale.item() == pytest.approx((weight * (1 - fresnel)).mean().item(), abs=0.015)
            assert bias.item() == pytest.approx((weight * fresnel).mean().item(), abs=0.06)


def test_a_white_surface_in_a_white_room_is_white_and_gradients_are_right() -> None:
    normal = sphere(30)
    towards = torch.nn.functional.normalize(normal + 0.3 * torch.tensor([1.0, 0.2, -0.4]).double(), dim=-1)
    white, matte, rough = torch.ones(30, 3).double(), torch.zeros(30).double(), torch.ones(30).double()
    seen = metallic_roughness(white, matte, rough, normal, towards, white_environment().double())
    torch.testing.assert_close(seen, white, atol=0.06, rtol=0)
    metal = metallic_roughness(white * torch.tensor([1.0, 0.2, 0.1]), rough, matte, normal, towards, room())
    assert (metal[:, 0] >= metal[:, 1] - 1).all()
    leaves = [torch.full((30, 3), 0.6).double(), matte + 0.4, rough * 0.5, room() + white_environment().double()]
    for leaf in leaves:
        leaf.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, m, r, e: metallic_roughness(a, m, r, normal, towards, e), leaves)
