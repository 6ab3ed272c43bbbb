"""From parts to triangles: the whole surface, or a closed piece for every part."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.geometry.iso_surface import iso_surface
from distill3d.parts.network import PartNetwork
from distill3d.parts.parts import Parts

COARSEST = 33  # points along each side of the grid that is asked everywhere
CHUNK = 1 << 12  # points in one call: what they need in between stays in the cache


@torch.no_grad()
def logit_grid(network: PartNetwork, shape: Parts, resolution: int) -> np.ndarray:
    """Occupancy logits at the points of a regular grid over [-1, 1]^3, ends included: [R, R, R], indexed [x, y, z].

    The grid is refined from at most 33 points a side by halves, and a finer grid asks only where the surface passes
    within a coarse cell or next to it; elsewhere it takes over the coarse values. R is rounded up to what halves give.
    """
    if resolution < 2:
        raise UserError(f"a surface needs a resolution of at least 2 (got {resolution})")
    halvings = 0
    while (resolution - 1) / 2**halvings > COARSEST - 1:
        halvings += 1
    side = -(-(resolution - 1) // 2**halvings) + 1
    embeddings = network.mixing(shape.intrinsics[None], shape.gaussians[None])

    def ask(points: Tensor) -> Tensor:
        pieces = [network.occupancy(embeddings, shape.gaussians[None], p[None])[0] for p in points.split(CHUNK)]
        return torch.cat(pieces) if pieces else points.new_zeros(0)

    values = ask(_points(side).reshape(-1, 3)).reshape(side, side, side)
    for _ in range(halvings):
        side = 2 * side - 1
        filled = (values > 0).float()[None, None]
        mixed = functional.max_pool3d(filled, 3, 1, 1) - (-functional.max_pool3d(-filled, 3, 1, 1)) > 0
        size = (side,) * 3
        values = functional.interpolate(values[None, None], size, mode="trilinear", align_corners=True)[0, 0]
        near = functional.interpolate(mixed.float(), size, mode="trilinear", align_corners=True)[0, 0] > 0
        values[near] = ask(_points(side)[near])
    return values.numpy()


def to_mesh(network: PartNetwork, shape: Parts, resolution: int = 128) -> Mesh:
    """The surface of one shape, with the part that each face belongs to as `face_labels`.

    Raises:
        UserError: the shape is empty.
    """
    mesh = iso_surface(logit_grid(network, shape, resolution), 0.0, "shape")
    if not len(mesh.faces):
        raise UserError("the parts enclose nothing: there is no surface")
    middles = torch.from_numpy(mesh.vertices[mesh.faces].mean(1))
    mesh.face_labels = shape.gaussians.assign(middles).numpy().astype(np.int32)
    return mesh


@torch.no_grad()
def part_meshes(network: PartNetwork, shape: Parts, resolution: int = 128) -> dict[int, Mesh]:
    """A closed surface for each part that holds something, by its number.

    A part holds the points inside the shape that its Gaussian is the most likely to have made.
    """
    logits = torch.from_numpy(logit_grid(network, shape, resolution))
    side = logits.shape[0]
    points = _points(side)
    inside = (logits > 0).nonzero()
    if not len(inside):
        raise UserError("the parts enclose nothing: there is no surface")
    owner = shape.gaussians.assign(points[inside.unbind(1)])
    pieces = {}
    for part in owner.unique().tolist():
        cells = inside[owner == part]
        low, high = (cells.amin(0) - 2).clamp(min=0), (cells.amax(0) + 3).clamp(max=side)
        size = int((high - low).max())  # a cube, which is what `iso_surface` takes
        low = torch.minimum(low, side - torch.full_like(low, size))
        box = tuple(slice(first, first + size) for first in low.tolist())
        densities = shape.gaussians.log_densities(points[box].reshape(-1, 3))
        own = densities[:, part].clone()
        densities[:, part] = -torch.inf
        margin = (own - densities.amax(-1)).reshape(logits[box].shape) if len(shape) > 1 else logits[box]
        piece = _surface_of_both(logits[box].numpy(), margin.numpy(), f"part {part}")
        cells_in = (piece.vertices + 1) * ((size - 1) / 2) + low.numpy()
        piece.vertices = (cells_in * (2 / (side - 1)) - 1).astype(np.float32)
        pieces[part] = piece
    return pieces


def _surface_of_both(first: np.ndarray, second: np.ndarray, name: str) -> Mesh:
    """The surface of where two fields [R, R, R] are both positive, each passing through 0 where it does alone.

    The surface of their lesser one would not: the difference of two log densities is far steeper than logits, which
    draws every border between parts to the last grid point on either side, and leaves a cell that is nobody's.
    """
    held = (first > 0) & (second > 0)
    piece = iso_surface(np.where(held, 1.0, -1.0), 0.0, name)
    middles = (piece.vertices.astype(np.float64) + 1) * ((len(first) - 1) / 2)
    middles = np.round(2 * middles) / 2  # half way between two points, or on the cube
    low, high = np.floor(middles).astype(int), np.ceil(middles).astype(int)
    starts = np.where(held[tuple(low.T)][:, None], low, high)
    ends = low + high - starts
    share = np.ones(len(middles))
    for field in (first, second):
        inside, outside = (field[tuple(at.T)].astype(np.float64) for at in (starts, ends))
        crosses = outside <= 0
        share[crosses] = np.minimum(share[crosses], inside[crosses] / (inside - outside)[crosses])
    places = starts + share[:, None] * (ends - starts)
    piece.vertices = (places * (2 / (len(first) - 1)) - 1).astype(np.float32)
    return piece


def _points(side: int) -> Tensor:
    """[R, R, R, 3]."""
    return torch.stack(torch.meshgrid(*[torch.linspace(-1.0, 1.0, side)] * 3, indexing="ij"), -1)
