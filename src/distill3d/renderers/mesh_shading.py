"""How a surface answers light: metallic-roughness under an environment of spherical harmonics.

The headlight that the embedded prior learnt with, ambient and diffuse, is `base.shade`.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

COSINE = (math.pi, 2 * math.pi / 3, math.pi / 4)  # the clamped cosine's own harmonics, band 0 to 2
TABLE, POINTS = 32, 512  # entries along each side of the table of reflectances, and samples in each
DIELECTRIC = 0.04  # reflectance of what is not metal, seen straight on


def harmonics(directions: Tensor) -> Tensor:
    """The nine real spherical harmonics of bands 0 to 2 at unit directions [..., 3] -> [..., 9]."""
    x, y, z = directions.unbind(-1)
    one = torch.ones_like(x)
    return torch.stack(
        [
            0.282095 * one,
            0.488603 * y,
            0.488603 * z,
            0.488603 * x,
            1.092548 * x * y,
            1.092548 * y * z,
            0.315392 * (3 * z * z - 1),
            1.092548 * x * z,
            0.546274 * (x * x - y * y),
        ],
        -1,
    )


def bands(values: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Three values [...] a band as nine [..., 9], one a harmonic."""
    zero, one, two = (v[..., None] for v in values)
    return torch.cat([zero, one.expand(*one.shape[:-1], 3), two.expand(*two.shape[:-1], 5)], -1)


def irradiance(normal: Tensor, environment: Tensor) -> Tensor:
    """Light that arrives at a surface, over pi (Ramamoorthi and Hanrahan 2001, "An efficient representation for
    irradiance environment maps", eq. 8): what a white matte surface shows.

    Args:
        normal: [..., 3], unit. environment: [9, 3], harmonics of the light that comes from each direction.
    """
    cosine = bands(tuple(torch.full_like(normal[..., 0], a / math.pi) for a in COSINE))  # type: ignore[arg-type]
    return (harmonics(normal) * cosine) @ environment


def reflected(direction: Tensor, roughness: Tensor, environment: Tensor) -> Tensor:
    """The environment seen along a mirrored direction, blurred by the roughness: band l by exp(-(a l)^2), a the
    square of the roughness (Ramamoorthi and Hanrahan 2001, "A signal-processing framework for inverse rendering").

    Args:
        direction: [..., 3], unit. roughness: [...], 0..1.
    """
    spread = roughness.square().square()  # a^2
    blur = bands((torch.ones_like(spread), torch.exp(-spread), torch.exp(-4 * spread)))
    return (harmonics(direction) * blur) @ environment


def environment_brdf(roughness: Tensor, facing: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and bias of the reflectance F0: the second half of the split sum (Karis 2013, "Real shading in Unreal
    Engine 4"), linear between the entries of a table, within 0.01 of the integral.

    Args:
        roughness, facing (n . v): [...], 0..1.
    """
    table = reflectance_table().to(roughness)
    grid = torch.stack([facing, roughness], -1).reshape(1, 1, -1, 2) * 2 - 1
    seen = torch.nn.functional.grid_sample(table[None], grid, padding_mode="border", align_corners=True)[0, :, 0]
    return seen[0].view(facing.shape), seen[1].view(facing.shape)


@lru_cache(maxsize=1)
def reflectance_table() -> Tensor:
    """[2, roughness, n . v]: the integrals over GGX half vectors with Smith's shadowing (Karis 2013, section
    "Environment BRDF"), by the mean over an additive recurrence of points."""
    side = torch.linspace(0, 1, TABLE, dtype=torch.float64)
    roughness, facing = side[:, None, None].clamp(min=0.03), side[None, :, None].clamp(min=0.01)
    k = torch.arange(POINTS, dtype=torch.float64) + 0.5
    u, turn = k * 0.7548776662466927 % 1, k * 0.5698402909980532 % 1 * 2 * math.pi  # Roberts 2018, R2
    cosine = ((1 - u) / (1 + (roughness**4 - 1) * u)).sqrt()
    view_half = (((1 - cosine**2) * (1 - facing**2)).sqrt() * turn.cos() + cosine * facing).clamp(min=1e-6)
    leaving = 2 * view_half * cosine - facing
    half = roughness**2 / 2
    shadow = leaving.clamp(min=0) / (leaving.clamp(min=0) * (1 - half) + half) * facing / (facing * (1 - half) + half)
    weight = torch.where(leaving > 0, shadow * view_half / (cosine * facing), 0.0)
    fresnel = (1 - view_half) ** 5
    return torch.stack([(weight * (1 - fresnel)).mean(-1), (weight * fresnel).mean(-1)])


def metallic_roughness(
    albedo: Tensor, metallic: Tensor, roughness: Tensor, normal: Tensor, to_camera: Tensor, environment: Tensor
) -> Tensor:
    """Colour of a metallic-roughness surface (as glTF 2.0, appendix B) under an environment.

    Args:
        albedo: [..., 3]; metallic, roughness: [...], 0..1; normal, to_camera: [..., 3], unit.
        environment: [9, 3] harmonics. Light from below zero, where the harmonics ring, counts as none.
    Returns:
        [..., 3], at least 0; 1 for a white matte surface in a white environment.
    """
    facing = (normal * to_camera).sum(-1).clamp(0, 1)
    mirrored = torch.nn.functional.normalize(2 * facing[..., None] * normal - to_camera, dim=-1)
    m = metallic[..., None]
    scale, bias = environment_brdf(roughness, facing)
    specular = DIELECTRIC * (1 - m) + albedo * m
    diffuse = albedo * (1 - m) * (1 - DIELECTRIC) * irradiance(normal, environment).clamp(min=0)
    seen = reflected(mirrored, roughness, environment).clamp(min=0)
    return diffuse + (specular * scale[..., None] + bias[..., None]) * seen


def white_environment(strength: float = 1.0) -> Tensor:
    """[9, 3], light of one colour from everywhere."""
    environment = torch.zeros(9, 3)
    environment[0] = strength / 0.282095
    return environment
