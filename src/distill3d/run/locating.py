"""Where an edit may change a scene, as a person says it: a box, a ball, or a mask on one view."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.files.captures import Normalization
from distill3d.files.pictures import write_png
from distill3d.geometry.region import Region
from distill3d.geometry.region_cells import CellRegion
from distill3d.renderers import Renderer
from distill3d.run import mask_region
from distill3d.run.capture_views import capture_views, spread, square_views
from distill3d.systems.edit import side_cameras
from distill3d.systems.region_picture import region_picture

CELL = 0.025  # side of a region's cells, in the scene's world, whose object is at most 2 wide
RADIUS = 0.05  # how far a region reaches beyond the points that it was made of
SHOWN, SHOWN_SIZE = 4, 192  # views of a region's picture, and their pixels


@dataclass(frozen=True)
class RegionAsked:
    """`text` as given. `view`, `depth`, `radius`: of a mask, the latter two in the source's own units."""

    text: str
    view: str | None = None
    depth: float | None = None
    radius: float | None = None


@dataclass(frozen=True)
class Located:
    """`text`, from which `Region.parse` makes the region; `told`, what to call it."""

    text: str
    told: str


def check_asked(asked: RegionAsked | None, view: str | None, depth: float | None, radius: float | None) -> None:
    """What is wrong with a region as far as that is known without the scene.

    Raises:
        UserError: it is no region, its file is not there, or an option belongs to a mask and there is none.
    """
    masked = asked is not None and asked.text.startswith(mask_region.PREFIX)
    for name, value in (("--region-view", view), ("--region-depth", depth), ("--region-radius", radius)):
        if value is not None and not masked:
            raise UserError(f"{name} belongs to --region mask=FILE")
    for name, number in (("--region-depth", depth), ("--region-radius", radius)):
        if number is not None and not 0 <= number < float("inf"):
            raise UserError(f"{name} is a length, 0 or more (got {number:g})")
    if asked is None:
        return
    if masked:
        file = asked.text.removeprefix(mask_region.PREFIX)
        if not Path(file).is_file():
            raise UserError(f"--region {asked.text}: there is no such file")
    else:
        Region.parse(asked.text)


def locate(asked: RegionAsked, renderer: Renderer, placing: Normalization | None, source: str | Path) -> Located:
    """The region that was asked for.

    Args:
        renderer: the scene. placing: how it came into the unit ball.
    Raises:
        UserError: see `check_asked`, `mask_region.mask_view` and `mask_region.masked_points`.
    """
    if not asked.text.startswith(mask_region.PREFIX):
        return Located(asked.text, asked.text)
    scale = 1.0 if placing is None else placing.scale
    view = asked.view or "front"
    at = mask_region.mask_view(source, view, renderer.kind)
    file = asked.text.removeprefix(mask_region.PREFIX)
    depth = None if asked.depth is None else asked.depth * scale
    points = mask_region.masked_points(renderer, at, file, depth, 0.5 * CELL)
    radius = RADIUS / scale if asked.radius is None else asked.radius
    region = around(points, placing, radius)
    return Located(region.text(), f"{mask_region.PREFIX}{Path(file).name} on view {view}")


def around(points: Tensor, placing: Normalization | None, radius: float) -> CellRegion:
    """The cells about points [N, 3] of the scene's world, in the file's coordinates; `radius` in the file's units."""
    if placing is not None:
        points = torch.from_numpy(placing.undo(points.double().numpy()))
    cell = CELL / (1.0 if placing is None else placing.scale)
    inside = points[torch.from_numpy(np.isfinite(points.numpy()).all(1))]
    return CellRegion.around(inside, cell, radius)


def show_region(renderer: Renderer, region: Region, source: str | Path, path: Path) -> None:
    """Draws a scene with a region tinted: from the cameras of its photographs where there are some, else all around."""
    cameras = capture_views(source, lens=False)
    if cameras is None:
        shown = side_cameras(torch.device("cpu"))
    else:
        shown = square_views(cameras, spread(len(cameras), SHOWN), SHOWN_SIZE)
    write_png(region_picture(renderer, region, shown), path)
