"""A capture as a pinhole would have taken it, for renderers that project points through intrinsics alone."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.files.captures.capture import Capture


def undistorted(capture: Capture) -> Capture:
    """The same pictures without the lens: intrinsics stay, pixels are looked up where the lens had put them.

    Colours are interpolated between the four nearest pixels, with alpha in straight colour where it is constant.
    Pixels that the photograph does not show are masked. A capture without a lens is returned as it is.
    """
    cameras = capture.cameras
    if cameras.lens is None:
        return capture
    pinholes = Cameras(cameras.camera_to_world, cameras.intrinsics, cameras.height, cameras.width)
    pictures = torch.empty_like(capture.pictures)
    masks = torch.empty(pictures.shape[:3], dtype=torch.bool)
    for i in range(len(cameras)):
        places = _places(cameras[i])
        counts = None if capture.masks is None else capture.masks[i]
        pictures[i], masks[i] = _looked_up(capture.pictures[i], counts, places)
    return replace(capture, pictures=pictures, cameras=pinholes, masks=None if bool(masks.all()) else masks)


def _places(camera: Cameras) -> Tensor:
    """[H, W, 2]: column and row in the photograph of the ray through each pixel of the pinhole."""
    assert camera.lens is not None
    k = camera.intrinsics[0].double()
    v, u = torch.meshgrid(
        torch.arange(camera.height).double() + 0.5, torch.arange(camera.width).double() + 0.5, indexing="ij"
    )
    x, y = (u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1]
    directions = torch.stack([x, y, torch.ones_like(x)], -1).view(1, -1, 3)
    distorted = camera.lens.distort(directions).view(camera.height, camera.width, 2)
    back = camera.lens.directions(distorted.view(1, -1, 2))[0].view(camera.height, camera.width, 3)
    true = torch.linalg.cross(back, directions.view_as(back), dim=-1).norm(dim=-1) < 1e-6  # before the lens folds
    places = distorted * k[[0, 1], [0, 1]] + k[:2, 2]
    return torch.where(true[..., None], places, -1.0)


def _looked_up(picture: Tensor, counts: Tensor | None, places: Tensor) -> tuple[Tensor, Tensor]:
    """Bilinear colours uint8 [H, W, C], and where all four pixels are there and count [H, W]."""
    height, width = picture.shape[:2]
    scale = places.new_tensor([2 / width, 2 / height])
    grid = (places * scale - 1)[None].float()
    image = picture.float().movedim(-1, 0)[None]
    found = torch.nn.functional.grid_sample(image, grid, padding_mode="border", align_corners=False)
    inside = (
        (places[..., 0] >= 0.5) & (places[..., 0] <= width - 0.5) & (places[..., 1] >= 0.5)
        & (places[..., 1] <= height - 0.5)
    )  # fmt: skip
    if counts is not None:
        whole = torch.nn.functional.grid_sample(counts[None, None].float(), grid, align_corners=False)[0, 0]
        inside &= whole > 0.999
    return found[0].movedim(0, -1).round().clamp(0, 255).byte(), inside
