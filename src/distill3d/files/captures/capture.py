"""A capture: photographs, and where they were taken from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.core.lens import Lens
from distill3d.files.captures.colmap import find_model, read_colmap
from distill3d.files.captures.layout import Layout, LensModel, is_file, with_pictures
from distill3d.files.captures.normalize import Normalization, around_cameras, around_subject
from distill3d.files.captures.photographs import load_mask, load_pictures
from distill3d.files.captures.synthetic import read_synthetic
from distill3d.files.captures.transforms import read_transforms

AUTO_SIDE = 512  # pixels: `downscale: auto` makes the longest side at most this


@dataclass(frozen=True)
class Capture:
    """`F` photographs of one size, in the scene's world.

    Args:
        folder: where it came from.
        names: of the picture files.
        pictures: [F, H, W, 3], or [F, H, W, 4] with straight alpha, uint8: how much the subject covers a pixel.
        cameras: F of them, z up, the subject in the unit ball; with their lens.
        held_out: [F] bool, kept for testing.
        masks: [F, H, W] bool, pixels that count; None where all do.
        points, colors: [N, 3] float32 in the scene's world and 0..1, from structure from motion; or None.
        normalization: from the file's world to the scene's.
        notices: what a person should know.
    """

    folder: Path
    names: tuple[str, ...]
    pictures: Tensor
    cameras: Cameras
    held_out: Tensor
    normalization: Normalization
    masks: Tensor | None = None
    points: Tensor | None = None
    colors: Tensor | None = None
    notices: tuple[str, ...] = ()

    @property
    def has_alpha(self) -> bool:
        return self.pictures.shape[-1] == 4

    def part(self, held_out: bool) -> Tensor:
        """Indices of the pictures to learn from, or of those held out."""
        return (self.held_out == held_out).nonzero()[:, 0]


def read_capture(
    folder: str | Path,
    downscale: int | Literal["auto"] = "auto",
    hold_out_every: int = 8,
    radius: float = 1.0,
) -> Capture:
    """The capture in a folder, or of a `transforms.json`.

    Layouts: `transforms_train.json` and `transforms_test.json` (NeRF-synthetic), `transforms.json` (nerfstudio,
    instant-ngp), a COLMAP model in `sparse/0` with pictures in `images`.

    Args:
        downscale: mean over blocks of so many pixels each way; "auto" is the least that makes pictures at most 512
            pixels long.
        hold_out_every: every so many pictures one is held out, the first among them, where the files do not say; 0
            holds out none.
        radius: distance of the farthest camera from the point that all look at, in the scene's world. Pictures with
            an alpha are scaled by what they show instead: it fills nine tenths of the unit ball.

    Raises:
        UserError: names the file and what is wrong with it.
    """
    layout = with_pictures(read_layout(Path(folder)))
    frames = layout.frames
    lens = _common_size([frame.lens for frame in frames], [frame.picture for frame in frames])
    factor = _factor(downscale, lens)
    size = (lens.width, lens.height)
    pixels = load_pictures([frame.picture for frame in frames], size, factor)
    intrinsics = np.stack([frame.lens.intrinsics for frame in frames]) / np.array([[factor], [factor], [1.0]])
    poses = np.stack([frame.pose for frame in frames])
    normal = None
    if pixels.shape[-1] == 4:
        normal = around_subject(poses, intrinsics, pixels[..., 3] > 127, layout.upright)
    if normal is None:
        normal = around_cameras(poses, layout.upright, radius)
    cameras = Cameras(
        torch.from_numpy(normal.poses(poses)).float(),
        torch.from_numpy(intrinsics).float(),
        pixels.shape[1],
        pixels.shape[2],
        _lens([frame.lens for frame in frames], layout.source),
    )
    held_out = [frame.held_out for frame in frames]
    if all(kept is None for kept in held_out):
        held_out = [hold_out_every > 0 and i % hold_out_every == 0 for i in range(len(frames))]
    if all(held_out):
        raise UserError(f"{layout.source}: every picture is held out, none is left to learn from")
    capture = Capture(
        Path(folder),
        tuple(frame.picture.name for frame in frames),
        torch.from_numpy(pixels),
        cameras,
        torch.tensor([bool(kept) for kept in held_out]),
        normal,
        _masks(layout, size, factor, cameras),
        notices=layout.notices,
    )
    return _with_points(capture, layout)


def read_layout(folder: Path) -> Layout:
    """What a capture's files say, whichever layout they are in.

    Raises:
        UserError: there is no capture, or its files are wrong.
    """
    if is_file(folder) and folder.suffix == ".json":
        return read_transforms(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder")
    if is_file(folder / "transforms_train.json"):
        return read_synthetic(folder)
    if is_file(folder / "transforms.json"):
        return read_transforms(folder / "transforms.json")
    model = find_model(folder)
    if model is not None:
        return read_colmap(folder, model)
    raise UserError(
        f"{folder}: holds no capture (looked for transforms_train.json, transforms.json, sparse/0/cameras.bin or .txt)"
    )


def _common_size(lenses: list[LensModel], pictures: list[Path]) -> LensModel:
    """A lens of the size that all have."""
    first = lenses[0]
    for lens, picture in zip(lenses, pictures, strict=True):
        if (lens.width, lens.height) != (first.width, first.height):
            raise UserError(
                f"{picture}: its camera is {lens.width} x {lens.height} pixels, that of {pictures[0].name} is "
                f"{first.width} x {first.height}; all pictures of a capture need one size"
            )
    return first


def _factor(downscale: int | Literal["auto"], lens: LensModel) -> int:
    longest, shortest = max(lens.width, lens.height), min(lens.width, lens.height)
    factor = -(-longest // AUTO_SIDE) if downscale == "auto" else downscale
    factor = min(factor, shortest) if downscale == "auto" else factor
    if not 1 <= factor <= shortest:
        raise UserError(f"downscale {factor} leaves nothing of pictures of {lens.width} x {lens.height} pixels")
    return factor


def _lens(lenses: list[LensModel], source: Path) -> Lens | None:
    """The distortion of all cameras; None where none of them has any."""
    models = {lens.model for lens in lenses if lens.model == "fisheye" or any(lens.coefficients)}
    if not models:
        return None
    if len(models) > 1 or (models == {"fisheye"} and any(lens.model != "fisheye" for lens in lenses)):
        raise UserError(f"{source}: fisheye and other lenses in one capture; split it in two")
    return Lens(models.pop(), torch.tensor([lens.coefficients for lens in lenses], dtype=torch.float64))


def _masks(layout: Layout, size: tuple[int, int], factor: int, cameras: Cameras) -> Tensor | None:
    """Pixels that count: white in the frame's mask, and reached by a ray through the lens."""
    masks = None if cameras.lens is None else cameras.seen()
    if any(frame.mask is not None for frame in layout.frames):
        masks = torch.ones(len(cameras), cameras.height, cameras.width, dtype=torch.bool) if masks is None else masks
        for i, frame in enumerate(layout.frames):
            if frame.mask is not None:
                masks[i] &= torch.from_numpy(load_mask(frame.mask, size, factor))
    if masks is None or bool(masks.all()):
        return None
    for i, frame in enumerate(layout.frames):
        if not masks[i].any():
            raise UserError(f"{frame.picture}: no pixel of it counts, its mask or its lens leaves none")
    return masks


def _with_points(capture: Capture, layout: Layout) -> Capture:
    if layout.points is None or layout.colors is None:
        return capture
    points = torch.from_numpy(capture.normalization.points(layout.points)).float()
    return replace(capture, points=points, colors=torch.from_numpy(layout.colors).float() / 255)
