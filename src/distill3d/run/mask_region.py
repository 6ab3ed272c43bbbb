"""`--region mask=FILE`: what a mask on one view of a scene means in space."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.files.picture_reading import read_picture
from distill3d.geometry.mask_lifting import OPAQUE, lifted, surface_points, thickness
from distill3d.renderers import Renderer
from distill3d.run.capture_views import capture_views
from distill3d.run.image import view as named_view
from distill3d.run.turntable import DISTANCE, FOV

PREFIX = "mask="
SIZE = 256  # pixels of a view that is drawn for a mask
LEAST_SIDE = 16  # pixels of a mask
ASPECT = 0.02  # how far the ratio of its sides may be from the view's


@dataclass(frozen=True)
class MaskView:
    """One camera, and whether it is one that took a photograph, of whatever stands around the object too."""

    camera: Cameras
    photographed: bool


def mask_view(source: str | Path, view: str, kind: str) -> MaskView:
    """The camera that a mask belongs to.

    Args:
        view: front, back, left, right, top, AZIMUTH,ELEVATION in degrees, as `distill3d render --view` draws them; or
            a number, which of the photographs that the scene was made from, from 0.
        kind: of the source's renderer.
    Raises:
        UserError: none of these; or there are no photographs, or fewer.
    """
    if view.isdecimal():
        cameras = capture_views(source, lens=kind == "nerf")
        if cameras is None:
            raise UserError(f"--region-view {view} is a photograph's number, and {source} was made from none")
        if int(view) >= len(cameras):
            raise UserError(f"--region-view {view}: {source} was made from photographs 0 to {len(cameras) - 1}")
        return MaskView(cameras[int(view)], True)
    camera = named_view(view, 1)
    return MaskView(Cameras.orbit(camera.azimuth, camera.elevation, DISTANCE, FOV, SIZE), False)


def read_mask(path: str, camera: Cameras) -> Tensor:
    """A mask file as [H, W] bool at the size of a view: white is the region, and what is transparent is black.

    Raises:
        UserError: it cannot be read, has other proportions than the view or hardly a pixel, or is all black.
    """
    pixels = read_picture(path)
    height, width = pixels.shape[:2]
    if abs(math.log(width / height * camera.height / camera.width)) > ASPECT or min(height, width) < LEAST_SIDE:
        raise UserError(
            f"{path}: the mask has {width} x {height} pixels; its view has {camera.width} x {camera.height}: draw the "
            "mask on a picture of this view, of this size or in these proportions"
        )
    grey = pixels[..., :3].mean(-1) * (pixels[..., 3] / 255 if pixels.shape[2] == 4 else 1)
    small = Image.fromarray(np.uint8(grey)).resize((camera.width, camera.height), Image.Resampling.BOX)
    mask = torch.from_numpy(np.asarray(small) > 127)
    if not bool(mask.any()):
        raise UserError(f"{path}: the mask is black everywhere; white is the region")
    return mask


@torch.no_grad()
def masked_points(renderer: Renderer, at: MaskView, path: str, depth: float | None, spacing: float) -> Tensor:
    """Points [N, 3] of the scene's world that fill what lies under a mask.

    They reach from the surface to the back of the object there: as far as the camera on the other side sees it. What
    was photographed stands before a background, and there they reach as far behind the surface as the masked part is
    wide (the median distance of its points from their middle). Never farther than `depth`.

    Args:
        depth, spacing: world units; of the points behind each other.
    Raises:
        UserError: see `read_mask`; or the mask lies beside the object, or covers all of it.
    """
    mask = read_mask(path, at.camera)
    front, alpha = seen(renderer, at.camera)
    there = alpha > OPAQUE
    under = mask & there
    if not bool(under.any()):
        raise UserError(f"{path}: under the mask there is nothing of the object in this view")
    if bool(mask.all()) or (not at.photographed and not bool((there & ~mask).any())):
        raise UserError(f"{path}: the mask covers all of the object in this view: leave --region out")
    if at.photographed:
        points = surface_points(front[None, ..., None], at.camera)[0]
        under &= points.norm(dim=-1) <= 1
        if not bool(under.any()):
            raise UserError(f"{path}: the mask shows the surroundings alone, outside the unit ball around the subject")
        points = points[under]
        middle = points.median(0).values
        behind = torch.full_like(front, float((points - middle).norm(dim=-1).median()))
    else:
        azimuth, elevation = at.camera.azimuth + math.pi, -at.camera.elevation
        other = Cameras.orbit(azimuth, elevation, at.camera.distance, FOV, SIZE)
        far, covered = seen(renderer, other)
        behind = thickness(front, at.camera, surface_points(far[None, ..., None], other)[0][covered > OPAQUE])
    if depth is not None:
        behind = behind.clamp(max=depth)
    return lifted(under, front, behind, at.camera, spacing)


def seen(renderer: Renderer, camera: Cameras) -> tuple[Tensor, Tensor]:
    """Depth along the rays and coverage of one view, [H, W] each, on the CPU, without jitter of samples."""
    was_training = renderer.training
    renderer.eval()
    device = next(iter(renderer.parameters())).device
    drawn = renderer(camera.to(device), background=torch.full((3,), 0.5, device=device))
    renderer.train(was_training)
    return drawn.depth[0, ..., 0].cpu(), drawn.alpha[0, ..., 0].cpu()
