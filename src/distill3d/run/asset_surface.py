"""The surface that an asset is made of: contoured out of a density, or the one that a mesh renderer has anyway."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.geometry.bake import seen_depth
from distill3d.geometry.components import remove_floaters
from distill3d.geometry.decimate import decimate
from distill3d.geometry.density_threshold import density_threshold
from distill3d.geometry.iso_surface import density_surface, sample_grid
from distill3d.geometry.smooth import smooth
from distill3d.renderers.base import Renderer

FAINTEST = 0.1  # density below which the grid is not refined: two world units of it are 18 % opaque


@dataclass(frozen=True)
class AssetSurface:
    """A surface within the budget of triangles, and where it came from.

    Args:
        mesh: perhaps with texture coordinates and a texture of its own.
        level: density of the surface, per world unit; None for a surface that is none of a density.
        rule: how it was found. floaters, cavities: pieces removed. faces_before: triangles before decimation.
        density: [R, R, R] over [-1, 1]^3, or None.
    """

    mesh: Mesh
    level: float | None
    rule: str
    floaters: int
    cavities: int
    faces_before: int
    density: np.ndarray | None = None

    def depth(self, mesh: Mesh) -> np.ndarray | None:
        """How far below each vertex the eye looks, [V] world units; None for "at the surface"."""
        return None if self.density is None else seen_depth(mesh, self.density)


def asset_surface(renderer: Renderer, resolution: int, faces: int, smoothing: int, name: str) -> AssetSurface:
    """See `run.asset.write_asset`.

    Raises:
        UserError: there is no surface.
    """
    own = renderer.own_surface()
    if own is not None:
        if not len(own.faces):
            raise UserError(f"the {renderer.kind} has no faces left: there is nothing to export")
        own.name = name
        reduced = own if own.uv is not None or len(own.faces) <= faces else decimate(own, faces)
        return AssetSurface(reduced, None, "the renderer's own surface", 0, 0, len(own.faces))
    device = next((p.device for p in renderer.parameters()), None)
    density = sample_grid(lambda points: renderer.density_at(points.to(device)), resolution, refine_above=FAINTEST)
    level, rule = density_threshold(density)
    whole, removed = remove_floaters(density_surface(density, level, name))
    surface = decimate(smooth(whole, smoothing), faces)
    return AssetSurface(surface, level, rule, removed.floaters, removed.cavities, len(whole.faces), density)
