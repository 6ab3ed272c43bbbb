"""Gaussians as a volume: the closed form of one, and every Gaussian against the cells' lists."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from distill3d.kernels.splatting_field import SplatField
from distill3d.kernels.splatting_torch import rotation_of
from tests.kernels.splat_scene import gaussians


def test_a_ray_through_the_middle_loses_its_opacity() -> None:
    scale, opacity = 0.1, 0.8
    zero = np.zeros((1, 3), np.float32)
    logit = np.float32([math.log(opacity / (1 - opacity))])
    field = SplatField(zero, np.float32([[1, 0, 0, 0]]), zero + np.float32(math.log(scale)), logit, zero + 0.25)
    ray = np.zeros((400, 3), np.float32)
    ray[:, 0] = np.linspace(-0.5, 0.5, 400)
    density, color = field.at(ray)
    assert 1 - math.exp(-density.sum() * (1 / 399)) == pytest.approx(opacity, abs=5e-3)
    assert np.allclose(color, 0.25)
    assert field.at(np.float32([[0.4, 0.0, 0.0]]))[0] == 0


def test_cells_find_every_gaussian() -> None:
    means, quats, scales, logits, _ = gaussians(200)
    colors = torch.rand(200, 3, generator=torch.Generator().manual_seed(5))
    field = SplatField(*(a.numpy() for a in (means, quats, scales, logits, colors)))
    points = (torch.rand(500, 3, generator=torch.Generator().manual_seed(6)) - 0.5) * 2
    density, color = field.at(points.numpy())
    away = points[:, None].double() - means.double()
    local = torch.einsum("nij,pni->pnj", rotation_of(quats).double(), away) / scales.double().exp()
    d2 = local.square().sum(-1)
    size = scales.double().exp().prod(-1) ** (1 / 3)
    peak = -torch.log1p(-torch.sigmoid(logits.double())) / (math.sqrt(2 * math.pi) * size)
    values = peak * torch.exp(-0.5 * d2) * (d2 <= 3.5**2)
    torch.testing.assert_close(torch.from_numpy(density).double(), values.sum(1), atol=1e-4, rtol=1e-4)
    some = values.sum(1) > 1e-3
    mixed = (values @ colors.double()) / values.sum(1, keepdim=True)
    torch.testing.assert_close(torch.from_numpy(color).double()[some], mixed[some], atol=1e-4, rtol=1e-3)
    assert some.sum() > 100


def test_where_nothing_is_the_nearest_lends_its_colour() -> None:
    means = np.float32([[-0.5, 0, 0], [0.5, 0, 0]])
    colors = np.float32([[1, 0, 0], [0, 0, 1]])
    field = SplatField(means, np.float32([[1, 0, 0, 0]] * 2), np.full((2, 3), -4, np.float32), np.zeros(2), colors)
    density, color = field.at(np.float32([[0.4, 0.5, 0.3], [-9, 0, 0]]))
    assert (density == 0).all()
    assert np.array_equal(color, colors[::-1])
