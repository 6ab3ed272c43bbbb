"""From a field on a grid to the surface of one of its levels."""

from __future__ import annotations

from collections.abc import Callable

import mcubes
import numpy as np
import torch
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.geometry.density_threshold import density_threshold

__all__ = ["density_surface", "density_threshold", "iso_surface", "sample_grid", "signed_volume"]

STEEPEST = 2.0  # a log density this far from the level's counts no further, so that a hard edge lies half way


def sample_grid(
    field: Callable[[Tensor], Tensor], resolution: int, refine_above: float | None = None, chunk: int = 1 << 16
) -> np.ndarray:
    """A scalar field at the points of a regular grid over [-1, 1]^3, ends included.

    Args:
        field: points [N, 3] -> values [N] (or [N, 1]).
        resolution: points along each side, R >= 2.
        refine_above: with a number, a grid of half the resolution is asked first, and where it and its neighbours are
            all below this number, the coarse values, interpolated, are good enough. Most of a scene is empty, so this
            asks a few times less; only what is thinner than 2 / R and lies between coarse points could be missed.
        chunk: points in one call of `field`.
    Returns:
        [R, R, R] float32, indexed [x, y, z]. No gradient flows.
    """
    if resolution < 2:
        raise UserError(f"a grid needs a resolution of at least 2 points along a side, not {resolution}")
    points = torch.stack(torch.meshgrid(*[torch.linspace(-1.0, 1.0, resolution)] * 3, indexing="ij"), -1)
    if refine_above is None or resolution < 16:
        return _ask(field, points.reshape(-1, 3), chunk).reshape((resolution,) * 3).numpy()
    coarse = torch.from_numpy(sample_grid(field, resolution // 2, None, chunk))[None, None]
    size = (resolution,) * 3
    values = torch.nn.functional.interpolate(coarse, size, mode="trilinear", align_corners=True)[0, 0]
    near = torch.nn.functional.max_pool3d(coarse, 3, 1, 1)
    # a fine point is refined if any of the coarse points around it is near something
    close = torch.nn.functional.interpolate((near > refine_above).float(), size, mode="trilinear", align_corners=True)
    mask = close[0, 0] > 0
    values[mask] = _ask(field, points[mask], chunk)
    return values.numpy()


def _ask(field: Callable[[Tensor], Tensor], points: Tensor, chunk: int) -> Tensor:
    with torch.no_grad():
        return torch.cat([field(p).detach().reshape(-1).float().cpu() for p in points.split(chunk)])


def iso_surface(field: np.ndarray, level: float, name: str = "asset") -> Mesh:
    """The surface between values above and below `level`, by marching cubes (Lorensen and Cline 1987).

    Args:
        field: [R, R, R], indexed [x, y, z], over [-1, 1]^3 with the first and last point on the faces of the cube.
        level: what is above it is inside. Where the inside touches the cube it is closed there.
    Returns:
        A closed mesh, vertices in [-1, 1]^3, triangles counter-clockwise seen from outside. Positions are linear
        between grid points, so pass a field that is about linear across the surface, such as the log of a density.
    Raises:
        UserError: nothing or everything lies above `level`, or a value is not finite.
    """
    if not np.isfinite(field).all():
        raise UserError("the field has values that are not finite; lower the learning rate or clip gradients")
    if not (field > level).any():
        raise UserError(f"nothing lies above the level {level:.4g} (largest value {field.max():.4g}); lower the level")
    if (field > level).all():
        raise UserError(f"everything lies above the level {level:.4g} (smallest {field.min():.4g}); raise the level")
    scale = float(field.max()) - level
    shifted = np.pad(field.astype(np.float64) - level, 1, constant_values=-1e3 * scale)
    vertices, faces = mcubes.marching_cubes(shifted, 0.0)
    resolution = field.shape[0]
    vertices = (vertices - 1.0) * (2.0 / (resolution - 1)) - 1.0
    mesh = Mesh(vertices.clip(-1.0, 1.0), faces, name=name)
    if signed_volume(mesh) < 0:
        mesh.faces = np.ascontiguousarray(mesh.faces[:, ::-1])
    return mesh


def density_surface(density: np.ndarray, level: float, name: str = "asset") -> Mesh:
    """The surface of a density at `level` (see `density_threshold`), placed between grid points by its logarithm.

    Densities grow by factors, not by steps: on their own scale the surface would stick to the grid points outside.

    Args:
        density: [R, R, R] over [-1, 1]^3, at least 0, indexed [x, y, z].
        level: more than 0.
    Returns, Raises: see `iso_surface`.
    """
    if not np.isfinite(density).all():
        raise UserError("the density has values that are not finite; lower the learning rate or clip gradients")
    if not (density > level).any():
        raise UserError(f"nothing is denser than {level:.4g} (greatest {density.max():.4g}); lower the threshold")
    relative = np.log(np.maximum(density, 1e-20) / level).clip(-STEEPEST, STEEPEST)
    return iso_surface(relative, 0.0, name)


def signed_volume(mesh: Mesh) -> float:
    """Enclosed volume, world units cubed; negative when the triangles face inwards."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]].astype(np.float64) for k in range(3))
    return float(np.einsum("fi,fi->", a, np.cross(b, c)) / 6.0)
