"""What ControlNets are shown of rendered views: depth, normals or edges, of the scene or of a guide beside it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.component import Config
from distill3d.core.ramp import NumberRampField, Ramp
from distill3d.core.rendering import Rendering
from distill3d.diffusion.hint import Hint
from distill3d.diffusion.prior import Prior
from distill3d.geometry.canny import canny
from distill3d.guidance.pictures import resized, shown

FARTHEST = 0.25  # grey of the farthest visible point, which stands out from the background's black
SOLID = 0.5  # coverage from which a pixel's depth counts for nearest and farthest


class HintConfig(Config):
    """What one ControlNet is shown: `hint` is depth (near is light, the background black), normal (in the camera's
    axes: right, up and towards it as red, green and blue; the background is black), or edge (Canny's, white on black);
    `weight`: how strongly it counts, a ramp; where it is 0 the ControlNet is left out."""

    hint: Literal["depth", "normal", "edge"] = "depth"
    weight: NumberRampField = Ramp(1.0)


@torch.no_grad()
def view_hints(
    rendering: Rendering, cameras: Cameras, prior: Prior, sections: tuple[HintConfig, ...], step: int
) -> tuple[Hint | None, ...]:
    """A hint for each of a prior's ControlNets, at its resolution; () where none counts at this step.

    Args:
        rendering: of `cameras`; where it has `extras["guide"]`, another rendering of theirs, that one is shown.
    """
    weights = [section.weight.at(step) for section in sections]
    if not any(weights):
        return ()
    seen = rendering.extras.get("guide", rendering)
    hints: list[Hint | None] = []
    for section, weight in zip(sections, weights, strict=True):
        image = hint_picture(section.hint, seen, cameras, prior) if weight else None
        hints.append(None if image is None else Hint(image, weight))
    return tuple(hints)


def hint_picture(kind: str, rendering: Rendering, cameras: Cameras, prior: Prior) -> Tensor:
    """[B, R, R, 1 or 3] in 0..1."""
    if kind == "edge":
        pictures = shown(rendering, prior).clamp(0, 1).cpu().numpy()
        edges = np.stack([canny(picture) for picture in pictures])[..., None]
        return torch.from_numpy(edges.astype(np.float32)).to(rendering.rgb.device)
    picture = depth_picture(rendering) if kind == "depth" else normal_picture(rendering, cameras)
    return resized(picture, prior.resolution).clamp(0, 1)


def depth_picture(rendering: Rendering) -> Tensor:
    """Depth as grey, [B, H, W, 1]: 1 at each view's nearest point and `FARTHEST` at its farthest, times the coverage.

    Only order and relative distances within a view are told, as by an estimator of depth from one picture, and as the
    toybox's ControlNet has learnt (`toybox.hints`). A view in which nothing is solid is black.
    """
    depth, alpha = rendering.depth, rendering.alpha
    solid, axes = alpha > SOLID, (1, 2, 3)
    near = torch.where(solid, depth, torch.inf).amin(axes, keepdim=True)
    far = torch.where(solid, depth, -torch.inf).amax(axes, keepdim=True)
    share = ((depth - near) / (far - near).clamp(min=1e-6)).clamp(0, 1)
    grey = 1 - (1 - FARTHEST) * share
    return torch.where(solid.flatten(1).any(1).view(-1, 1, 1, 1), grey * alpha, 0.0)


def normal_picture(rendering: Rendering, cameras: Cameras) -> Tensor:
    """Normals as colours, [B, H, W, 3]: (n + 1) / 2 in the camera's axes, times the coverage.

    Raises:
        ValueError: the rendering has no normals.
    """
    if rendering.normal is None:
        raise ValueError("these views were drawn without normals")
    to_camera = cameras.camera_to_world[:, :3, :3].to(rendering.normal)
    seen = torch.einsum("bhwi,bij->bhwj", rendering.normal, to_camera)  # the transpose of a rotation is its inverse
    return 0.5 * (seen + 1) * rendering.alpha
