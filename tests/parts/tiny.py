"""Small part models with random weights, for tests of what is around them."""

from __future__ import annotations

from pathlib import Path

import torch

from distill3d.parts.model import save_namer, save_network, save_phase
from distill3d.parts.naming import PartNamer
from distill3d.parts.network import PartNetwork, PartSizes
from distill3d.parts.parts import Parts
from distill3d.parts.salad import Salad, SaladSizes
from distill3d.parts.surface import _points

SIZES = PartSizes(parts=5, latent=16, intrinsics=6, width=16, depth=1, heads=2, pair=16, nearest=3)
VOCABULARY = ("a", "arms", "back", "chair", "four", "gaps", "in", "legs", "no", "table", "the", "wheels", "with")
NAMES = ("arm", "back", "leg", "seat")


@torch.no_grad()
def tiny_network(seed: int = 0) -> PartNetwork:
    """Random, with its last bias such that a sixth of the cube is inside the shapes that it reads off grids."""
    torch.manual_seed(seed)
    network = PartNetwork(SIZES).eval().requires_grad_(False)
    network.decomposition.extrinsics.weight *= 0.2  # near where they begin, inside the cube
    shape = tiny_shape(network)
    logits = network.logits(shape.intrinsics[None], shape.gaussians[None], _points(17).reshape(1, -1, 3))
    network.occupancy.head[2].bias -= logits.quantile(5 / 6)
    return network


@torch.no_grad()
def tiny_shape(network: PartNetwork, seed: int = 0) -> Parts:
    """Of a random grid."""
    cells = torch.rand(1, 32, 32, 32, generator=torch.Generator().manual_seed(seed))
    intrinsics, gaussians = network.parts_of(cells)
    return Parts(gaussians, intrinsics)[0]


@torch.no_grad()
def tiny_salad(seed: int = 0, single: bool = False) -> Salad:
    """Random, and not silent: a new denoiser's last layer is zero."""
    torch.manual_seed(seed)
    salad = Salad(SaladSizes(SIZES.intrinsics, width=16, depth=1, heads=2), VOCABULARY, single)
    for parameter in salad.parameters():
        parameter += 0.1 * torch.randn_like(parameter)
    network = tiny_network()
    shapes = [tiny_shape(network, k) for k in range(8)]
    vectors = torch.stack([shape.gaussians.vectors() for shape in shapes])
    salad.scales.measure(vectors, torch.stack([shape.intrinsics for shape in shapes]))
    return salad.eval().requires_grad_(False)


def write_tiny_models(folder: Path, namer: bool = True) -> Path:
    """A folder of all of it.

    A random denoiser leads far from any shape, by 1 / alpha_T of some 10^5; small scales keep that in the cube.
    """
    salad = tiny_salad()
    salad.scales.extrinsics_std *= 1e-6
    salad.scales.intrinsics_std *= 1e-6
    save_network(tiny_network(), folder)
    save_phase(salad, "extrinsics", folder), save_phase(salad, "intrinsics", folder)
    if namer:
        torch.manual_seed(0)
        save_namer(PartNamer(NAMES, SIZES.intrinsics), folder)
    return folder
