"""What of a scene an edit may change, where it is held to a region."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.geometry.bake import texels
from distill3d.geometry.region import Region
from distill3d.renderers import GaussianRenderer, MeshRenderer, NerfRenderer, Renderer
from distill3d.renderers.gaussians import PARAMETERS
from distill3d.systems.edit_confine import SHAPE, Confinement, lie_in, shape_of


def inside_and_all(renderer: Renderer, region: Region) -> tuple[int, int, str]:
    """How many elements of a scene lie in a region, of how many, and what they are called.

    Raises:
        UserError: a scene of another kind.
    """
    if isinstance(renderer, GaussianRenderer):
        found, what = region.contains(renderer.means.detach()), "Gaussians"
    elif isinstance(renderer, MeshRenderer):
        found, what = region.contains(renderer.vertices.detach()), "vertices"
        if renderer.config.color == "texture":  # a wall of two triangles has its picture between the corners
            found = torch.cat([found, texels_inside(renderer, region)[1]])
            what = "vertices and texels"
    elif isinstance(renderer, NerfRenderer):
        found, what = region.contains(renderer.occupied_points()), "occupied cells"
    else:
        raise UserError(f"a region of {renderer.kind} cannot be edited alone; export it first, and edit the mesh")
    return int(found.sum()), len(found), what


def check_region(renderer: Renderer, region: Region, text: str) -> str:
    """A line that says what a region holds.

    Raises:
        UserError: it holds nothing, or everything.
    """
    count, total, what = inside_and_all(renderer, region)
    if count == 0:
        raise UserError(f"region {text} holds nothing: none of {total} {what}")
    if count == total:
        raise UserError(f"region {text} holds everything, all {total} {what}: leave --region out")
    return f"region {text} holds {count} of {total} {what}; nothing else will change"


def loose(renderer: Renderer, region: Region) -> dict[str, Tensor]:
    """Which elements of which parameters may change: masks by parameter name, which broadcast from the left.

    Of a Gaussian whose centre lies inside and which reaches out, colour and opacity (see `edit_confine`). A NeRF has
    none: its field is held by `renderers.nerf_region`.
    """
    if isinstance(renderer, GaussianRenderer):
        inside = region.contains(renderer.means.detach())
        return dict.fromkeys(PARAMETERS, inside) | dict.fromkeys(SHAPE, lie_in(region, *shape_of(renderer)))
    if isinstance(renderer, MeshRenderer):
        inside = region.contains(renderer.vertices.detach())
        painted = inside if renderer.config.color == "vertex" else texels_inside(renderer, region)[0]
        return {"change": inside, "material": inside, "color": painted}
    return {}


def texels_inside(renderer: MeshRenderer, region: Region) -> tuple[Tensor, Tensor]:
    """Which texels lie in a region: a mask [T, T], in which the ones between the charts go with the nearest in one,
    and the same of those in charts alone, [N]."""
    vertices, faces = renderer.vertices.detach().cpu(), renderer.faces.cpu().numpy()
    size = renderer.color.shape[0]
    pixel, triangle, weights = texels(renderer.uv.cpu().numpy(), faces, size)
    points = np.einsum("nk,nkc->nc", weights, vertices.numpy()[faces[triangle]])
    inside = region.contains(torch.from_numpy(np.float32(points)))
    painted, empty = np.zeros(size * size, bool), np.ones(size * size, bool)
    painted[pixel], empty[pixel] = inside.numpy(), False
    rows, columns = distance_transform_edt(empty.reshape(size, size), return_distances=False, return_indices=True)
    mask = torch.from_numpy(painted.reshape(size, size)[rows, columns])
    return mask.to(renderer.color.device), inside


def hold_to(region: Region, renderer: Renderer, source: Renderer, optimizer: torch.optim.Optimizer) -> None:
    """From now on `optimizer` changes nothing of `renderer` that lay outside a region in `source`, the scene as it was;
    and Gaussians stay in it."""
    hold(renderer, loose(source, region))
    if isinstance(renderer, GaussianRenderer):
        Confinement(renderer, region, optimizer)


def hold(renderer: Renderer, masks: dict[str, Tensor]) -> None:
    """From now on no gradient reaches what `masks` (see `loose`) leaves out."""
    for name, mask in masks.items():
        parameter = getattr(renderer, name, None)
        if isinstance(parameter, Tensor) and parameter.requires_grad and parameter.numel():
            held = ~mask.reshape(*mask.shape, *[1] * (parameter.dim() - mask.dim())).to(parameter.device)
            parameter.register_hook(lambda gradient, held=held: gradient.masked_fill(held, 0.0))
