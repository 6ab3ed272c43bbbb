"""What tetrahedra start from when they take over from another representation: its solid, and its colours."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.core.rendering import Rendering
from distill3d.geometry.components import remove_floaters
from distill3d.geometry.density_threshold import density_threshold
from distill3d.geometry.iso_surface import density_surface, sample_grid
from distill3d.geometry.smooth import smooth
from distill3d.renderers.base import Renderer

SAMPLES = 96  # of a density, along each side of the cube
FAINTEST = 0.1  # density below which the grid is not refined
SMOOTHING = 5  # rounds, against the stairs of the grid
VIEWS, SIZE, BATCH, STEPS = 24, 64, 4, 60  # of the fit of the colours
HASTE = 3.0  # times the groups' learning rates: there is no noise in what is fitted, and the rate falls to nothing

Pictures = Callable[[Cameras], Rendering]


def solid_mesh(source: Renderer) -> Mesh:
    """The closed surface of what a renderer shows: its own where it has one, else a level of its density.

    Raises:
        UserError: there is nothing, or everything is full.
    """
    if source.kind in ("mesh", "tetrahedra"):
        return source.to_mesh()
    try:
        density = sample_grid(source.density_at, SAMPLES, refine_above=FAINTEST)
        level, _ = density_threshold(density)
    except UserError as error:
        raise UserError(f"the {source.kind} of the first stage cannot become a surface: {error}") from error
    return smooth(remove_floaters(density_surface(density, level, "first stage"))[0], SMOOTHING)


def match_colors(renderer: Renderer, groups: list[dict[str, Any]], pictures: Pictures) -> float:
    """Fits colours, and nothing else, to unlit pictures over black, from all around.

    Args:
        groups: the parameter groups that colour the surface and do not move it.
    Returns:
        the mean squared difference of the last pictures, over pixels where both show the object.
    """
    turn = torch.arange(VIEWS) * (math.pi * (3 - math.sqrt(5)))  # golden angle: any few of them are spread out
    elevation = torch.asin(torch.linspace(-0.6, 0.95, VIEWS))
    cameras = Cameras.orbit(turn, elevation, 2.8, math.radians(45), SIZE)
    black = torch.zeros(3)
    with torch.no_grad():
        wanted = [pictures(cameras[k]) for k in range(VIEWS)]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-15)
    rates = [group["lr"] for group in optimizer.param_groups]
    loss = torch.zeros(())
    for step in range(STEPS):
        chosen = [(step * BATCH + k) * 5 % VIEWS for k in range(BATCH)]
        seen = renderer(cameras[torch.tensor(chosen)], black)
        target = torch.cat([wanted[k].rgb for k in chosen])
        alpha = torch.cat([wanted[k].alpha for k in chosen])
        both = (alpha[..., 0] > 0.9) & (seen.alpha.detach()[..., 0] > 0.9)
        difference = seen.rgb / seen.alpha.detach().clamp(min=1e-6) - target / alpha.clamp(min=1e-6)
        loss = difference[both].square().mean() if both.any() else seen.rgb.sum() * 0
        for parameter in renderer.parameters():
            parameter.grad = None
        loss.backward()
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = HASTE * rate * (1 - step / STEPS)
        optimizer.step()
    for parameter in renderer.parameters():
        parameter.grad = None
    return loss.item()
