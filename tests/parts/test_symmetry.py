"""Reflective symmetry: half of the parts are the mirror images of the others."""

from __future__ import annotations

from dataclasses import replace

import torch

from distill3d.parts.network import PartNetwork
from tests.parts.tiny import SIZES


def _parts(symmetric: bool):
    torch.manual_seed(0)
    network = PartNetwork(replace(SIZES, parts=6, symmetric=symmetric))
    intrinsics, gaussians = network.parts_of(torch.rand(2, 32, 32, 32, generator=torch.Generator().manual_seed(1)))
    return network, intrinsics, gaussians


@torch.no_grad()
def test_half_of_the_parts_mirror_the_others():
    flip = torch.tensor([1.0, -1.0, 1.0])
    for symmetric in (True, False):
        _, intrinsics, gaussians = _parts(symmetric)
        assert gaussians.means.shape == (2, 6, 3)
        mirrored = torch.allclose(gaussians.means[:, 3:], gaussians.means[:, :3] * flip)
        assert mirrored is symmetric
        assert torch.equal(intrinsics[:, 3:], intrinsics[:, :3]) is symmetric


@torch.no_grad()
def test_the_mixture_is_as_likely_on_either_side():
    points = 2 * torch.rand(2, 200, 3, generator=torch.Generator().manual_seed(2)) - 1
    mirrored = points * torch.tensor([1.0, -1.0, 1.0])
    for symmetric in (True, False):
        gaussians = _parts(symmetric)[2]
        off = (gaussians.log_likelihood(points) - gaussians.log_likelihood(mirrored)).abs().max()
        assert bool(off < 1e-3) is symmetric
