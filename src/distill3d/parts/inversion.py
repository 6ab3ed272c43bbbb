"""A solid read as parts: the encoder's guess, and then descent on the parts themselves (shape inversion)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.geometry.closed import loose_edges
from distill3d.geometry.iso_surface import signed_volume
from distill3d.geometry.signed_distance import inside
from distill3d.parts.gaussians import PartGaussians
from distill3d.parts.losses import filled_at, mixture_loss, occupancy_loss
from distill3d.parts.network import CELLS, PartNetwork
from distill3d.parts.parts import Parts

FINE = 64  # cells along each side of the grid that a shape is given as
STEPS = 150
POINTS = 1536  # a step
SLIVERS = 0.001  # share of the edges that may be loose, as where triangles without an area were left out of a file
RADIUS = 0.9  # of the farthest point of a shape that the toybox's models know


def solid_of(mesh: Mesh) -> Tensor:
    """The cells that a watertight mesh fills, of a grid of 64 a side over [-1, 1]^3: [64, 64, 64] float32, x first.

    It is moved and scaled so that its middle is the origin and its farthest vertex at 0.9, as shapes of the toybox.

    Raises:
        UserError: it is open, inside out, degenerate, or thinner than a cell everywhere.
    """
    if not len(mesh.faces):
        raise UserError(f"the mesh {mesh.name!r} has no faces")
    if not np.isfinite(mesh.vertices).all():
        raise UserError(f"the mesh {mesh.name!r} has vertices that are not finite")
    placed = mesh.in_unit_ball(RADIUS)
    loose = loose_edges(placed)
    if loose > SLIVERS * 1.5 * len(placed.faces):
        raise UserError(f"the mesh {mesh.name!r} is open, at {loose:,} edges: an inversion needs a closed surface")
    volume = signed_volume(placed)
    if volume < -1e-6:
        raise UserError(f"the mesh {mesh.name!r} is inside out: turn its faces round")
    side = (np.arange(FINE) + 0.5) * (2 / FINE) - 1
    points = np.stack(np.meshgrid(side, side, side, indexing="ij"), -1).reshape(-1, 3)
    cells = inside(placed, points).reshape(FINE, FINE, FINE)
    if cells.sum() < 8:
        raise UserError(f"the mesh {mesh.name!r} encloses no volume that a grid of {FINE} cells could show")
    return torch.from_numpy(cells.astype(np.float32))


def read_by_encoder(network: PartNetwork, cells: Tensor) -> Parts:
    """The encoder's reading of a solid, without gradients.

    Args:
        cells: [64, 64, 64], 1 where filled, x first.
    Raises:
        UserError: nothing is filled, or the grid has another size.
    """
    if cells.shape != (FINE,) * 3:
        raise UserError(f"a shape is a grid of {FINE} cells a side, not {tuple(cells.shape)}")
    if not bool((cells > 0.5).any()):
        raise UserError("nothing is filled: there is no shape to read")
    with torch.no_grad():
        coarse = functional.avg_pool3d(cells[None, None].float(), FINE // CELLS)[:, 0]
        intrinsics, gaussians = network.parts_of(coarse)
    return Parts(gaussians, intrinsics)[0]


def invert(
    network: PartNetwork,
    cells: Tensor,
    steps: int = STEPS,
    progress: Callable[[int, int], None] | None = None,
    seed: int = 0,
) -> Parts:
    """The parts of a solid.

    The paper fits the shape's latent and then the parts; the encoder takes the place of the first. Then Gaussians and
    intrinsics descend on what they were trained on: occupancy of points by the surface, likelihood of points inside.

    Args:
        cells: [64, 64, 64], 1 where filled, x first.
        steps: of the descent; 0 is the encoder's reading.
    Raises:
        UserError: nothing is filled, or the grid has another size.
    """
    start = read_by_encoder(network, cells)
    if steps == 0:
        return start
    vectors, inner = (nn.Parameter(v[None].clone()) for v in (start.gaussians.vectors(), start.intrinsics))
    optimizer = torch.optim.Adam([{"params": [vectors], "lr": 0.004}, {"params": [inner], "lr": 0.02}])
    samples, generator = SolidSamples(cells), torch.Generator().manual_seed(seed)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] *= 0.985
        asked = samples.draw(POINTS, generator)
        gaussians = PartGaussians.from_vectors(vectors)
        logits = network.logits(inner, gaussians, asked.points[None])
        loss = occupancy_loss(logits, asked.filled[None])
        loss = loss + 0.02 * mixture_loss(gaussians, asked.inside[None])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if progress is not None:
            progress(step + 1, steps)
    return Parts(PartGaussians.from_vectors(vectors.detach()), inner.detach())[0]


class SolidPoints(NamedTuple):
    """Points [N, 3] with how filled the solid is there [N], and points [M, 3] inside."""

    points: Tensor
    filled: Tensor
    inside: Tensor


class SolidSamples:
    """Points of a solid for the losses, drawn anew at each step."""

    def __init__(self, cells: Tensor) -> None:
        self.grid = cells[None].float()
        empty_beside = -functional.max_pool3d(-self.grid[:, None], 3, 1, 1)[:, 0] < 0.5
        self.filled = (self.grid[0] > 0.5).nonzero()
        self.surface = ((self.grid > 0.5) & empty_beside)[0].nonzero()

    def draw(self, count: int, generator: torch.Generator) -> SolidPoints:
        """`count` points, three quarters of them by the surface and the others anywhere in the cube; a sixth inside."""
        near = _jittered(self.surface, 3 * count // 4, 1.5, generator)
        anywhere = 2 * torch.rand(count - len(near), 3, generator=generator) - 1
        points = torch.cat([near, anywhere])
        inside = _jittered(self.filled, max(1, count // 6), 0.5, generator)
        return SolidPoints(points, filled_at(self.grid, points[None])[0], inside)


def _jittered(cells: Tensor, count: int, reach: float, generator: torch.Generator) -> Tensor:
    """`count` points drawn from `cells` [K, 3], within `reach` cells of their centres, in world units."""
    chosen = cells[torch.randint(len(cells), (count,), generator=generator)] + 0.5
    return (chosen + reach * (2 * torch.rand(count, 3, generator=generator) - 1)) * (2 / FINE) - 1
