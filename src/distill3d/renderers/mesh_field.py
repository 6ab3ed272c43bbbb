"""What a mesh looks like to somebody who asks for density and colour at points, as they ask a NeRF."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from distill3d.core.mesh import Mesh
from distill3d.geometry.signed_distance import closest_points, signed_distance
from distill3d.renderers.mesh_picture import sample_texture

SOLID, SKIN = 100.0, 0.01  # density deep inside, per world unit; thickness of the skin over which it falls off


def density_of(mesh: Mesh, points: Tensor) -> Tensor:
    """Density [N] at `points` [N, 3]: 100 a unit inside, half of it on the surface."""
    distance = signed_distance(mesh, points.detach().cpu().double().numpy())
    return (SOLID * torch.sigmoid(torch.from_numpy(-distance / SKIN))).float().to(points.device)


def color_of(mesh: Mesh, points: Tensor) -> Tensor:
    """Colour [N, 3] of the nearest point of the surface; mid grey where the mesh has none."""
    _, triangle, weights = closest_points(mesh, points.detach().cpu().double().numpy())
    corners = mesh.faces[triangle]
    if mesh.texture is not None and mesh.uv is not None:
        colors = sample_texture(mesh.texture, np.einsum("nk,nkc->nc", weights, mesh.uv[corners]).astype(np.float32))
    elif mesh.colors is not None:
        colors = np.einsum("nk,nkc->nc", weights, mesh.colors[corners])
    else:
        colors = np.full((len(corners), 3), 0.5)
    return torch.from_numpy(np.float32(colors)).to(points.device)
