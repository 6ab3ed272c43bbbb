"""Where an edit may change a scene, as a person says it: a box, a ball, a mask on one view, or words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from distill3d.core.component import nearest
from distill3d.core.errors import UserError
from distill3d.diffusion.prior import Prior
from distill3d.files.captures import Normalization
from distill3d.files.pictures import write_png
from distill3d.geometry.region import Region
from distill3d.geometry.region_cells import CellRegion
from distill3d.renderers import Renderer
from distill3d.run import mask_region, word_region
from distill3d.run.capture_views import capture_views, square_views
from distill3d.run.word_contrast import bare
from distill3d.systems.cameras import spread
from distill3d.systems.edit import side_cameras
from distill3d.systems.region_picture import region_picture

CELL = 0.025  # side of a region's cells, in the scene's world, whose object is at most 2 wide
SURFACE_CELL = 0.05  # side of the cells that words are located on
RADIUS = 0.05  # how far a region reaches beyond the points that it was made of
SHOWN, SHOWN_SIZE = 4, 192  # views of a region's picture, and their pixels


@dataclass(frozen=True)
class RegionAsked:
    """`text` as given. `view`, `depth`, `radius`: of a mask, the latter two in the source's own units. `by`: of words,
    how the prior is asked, see `word_region`; the way that suits it by default."""

    text: str
    view: str | None = None
    depth: float | None = None
    radius: float | None = None
    by: str | None = None

    @property
    def masked(self) -> bool:
        return self.text.startswith(mask_region.PREFIX)

    @property
    def worded(self) -> bool:
        return not self.masked and ":" not in self.text and "=" not in self.text


@dataclass(frozen=True)
class Located:
    """`text`, from which `Region.parse` makes the region; `told`, what to call it."""

    text: str
    told: str


@dataclass(frozen=True)
class Listener:
    """Who is asked where words are: the section of a prior, and what the scene is in words; None, where the method
    is not told that."""

    prior: dict[str, Any]
    sentence: str | None
    device: torch.device


def check_asked(region: str | None, **options: Any) -> RegionAsked | None:
    """A region and its options, as far as they can be judged without the scene.

    Args:
        options: `view`, `depth`, `radius` and `by` of `RegionAsked`.
    Raises:
        UserError: it is no region, its file is not there, or an option belongs to another kind of region.
    """
    asked = RegionAsked(region or "", **options)
    for name, value in (("view", asked.view), ("depth", asked.depth), ("radius", asked.radius)):
        if value is not None and not asked.masked:
            raise UserError(f"--region-{name} belongs to --region mask=FILE")
    for name, number in (("depth", asked.depth), ("radius", asked.radius)):
        if number is not None and not 0 <= number < float("inf"):
            raise UserError(f"--region-{name} is a length, 0 or more (got {number:g})")
    if asked.by is not None:
        if region is None or not asked.worded:
            raise UserError('--region-by belongs to a region in words, such as --region "the hat"')
        if asked.by not in word_region.BY:
            raise UserError(f"--region-by: unknown way {asked.by!r}{nearest(asked.by, word_region.BY)}")
    if region is None:
        return None
    if asked.masked:
        file = asked.text.removeprefix(mask_region.PREFIX)
        if not Path(file).is_file():
            raise UserError(f"--region {asked.text}: there is no such file")
    elif asked.worded:
        if not bare(asked.text):
            raise UserError("--region is empty: a box, a ball, a mask, or words of what the scene is")
    else:
        Region.parse(asked.text)
    return asked


def locate(
    asked: RegionAsked, renderer: Renderer, placing: Normalization | None, source: str | Path, listener: Listener
) -> Located:
    """The region that was asked for.

    Args:
        renderer: the scene. placing: how it came into the unit ball.
    Raises:
        UserError: see `mask_region.mask_view` and `masked_points`, and `word_region.word_scores`.
    """
    scale = 1.0 if placing is None else placing.scale
    if asked.masked:
        view, file = asked.view or "front", asked.text.removeprefix(mask_region.PREFIX)
        at = mask_region.mask_view(source, view, renderer.kind)
        depth = None if asked.depth is None else asked.depth * scale
        points = mask_region.masked_points(renderer, at, file, depth, 0.5 * CELL)
        radius = RADIUS / scale if asked.radius is None else asked.radius
        told = f"{mask_region.PREFIX}{Path(file).name} on view {view}"
        return Located(around(points, placing, radius).text(), told)
    if asked.worded:
        points, by = worded_points(asked, renderer, source, listener)
        return Located(around(points, placing, 0.0).text(), f"{asked.text!r} by {by}")
    return Located(asked.text, asked.text)


def worded_points(
    asked: RegionAsked, renderer: Renderer, source: str | Path, listener: Listener
) -> tuple[Tensor, word_region.By]:
    """Points [N, 3] of the scene's world that fill where words are; and how the prior was asked.

    Raises:
        UserError: the method is not told what the scene is; or see `word_region.word_scores`.
    """
    if listener.sentence is None:
        raise UserError("this method is told an instruction, and not what the scene is: words of it cannot be located")
    words = bare(asked.text)
    if words not in " ".join(listener.sentence.lower().split()):
        raise UserError(f"--region {asked.text!r}: what the scene is, {listener.sentence!r}, does not say this")
    taken = capture_views(source, lens=False)
    cameras = word_region.all_around()
    if taken is not None:
        cameras = square_views(taken, spread(len(taken), len(cameras)), word_region.FINE)
    prior = Prior.build(listener.prior, "prior", device=listener.device)
    prior.requires_grad_(False)
    by = word_region.usual_way(prior) if asked.by is None else cast(word_region.By, asked.by)
    scores = word_region.word_scores(renderer, prior, listener.sentence, words, by, cameras, SURFACE_CELL)
    coarse = scores.points(SURFACE_CELL, RADIUS)
    thirds = torch.tensor([-1.0, 0.0, 1.0]) * (SURFACE_CELL / 3)
    within = torch.stack(torch.meshgrid(thirds, thirds, thirds, indexing="ij"), -1).view(-1, 3)
    return (coarse[:, None] + within).view(-1, 3), by  # the whole of each cell, whichever way the file's axes lie


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
