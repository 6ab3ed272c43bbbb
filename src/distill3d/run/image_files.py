"""Between picture files and a prior: sizes, coverage, masks, and grids with straight alpha."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.diffusion.prior import Prior
from distill3d.files.picture_reading import read_picture
from distill3d.files.pictures import to_bytes, write_png

PLAIN = 12  # of 255: how far the border of a picture may be from its median, on average, to be a plain background
CUT = (0.08, 0.25)  # distance from the background's colour, 0..1, at which coverage begins, and is whole

Tell = Callable[[str], object]


@dataclass(frozen=True)
class Opened:
    """A picture as a prior takes it.

    Args:
        pixels: uint8 [H, W, 3 or 4], straight alpha, of the prior's size and channels.
        images: [1, H, W, C] in 0..1, colour over the prior's background.
    """

    pixels: np.ndarray
    images: Tensor


def open_picture(path: str | Path, prior: Prior, tell: Tell) -> Opened:
    """Reads a picture file and fits it to a prior: squared, resized, and with or without coverage.

    A prior that knows coverage is given that of the file; where it has none, what differs from a plain background is
    covered, and all of it where the background is not plain. A prior without gets the picture on white.

    Args:
        tell: hears what was changed, a line each.
    Raises:
        UserError: see `read_picture`.
    """
    pixels = read_picture(path)
    height, width = pixels.shape[:2]
    if (height, width) != (prior.resolution,) * 2:
        tell(f"{path}: {width} x {height} pixels, fitted into the prior's {prior.resolution} x {prior.resolution}")
    if prior.sees_alpha and pixels.shape[2] == 3:
        pixels, how = with_coverage(pixels)
        tell(f"{path}: it has no alpha; {how}")
    pixels = fitted(pixels, prior.resolution)
    if not prior.sees_alpha:
        pixels = to_bytes(over(pixels / 255.0, 1.0)[..., :3]) if pixels.shape[2] == 4 else pixels
        return Opened(pixels, torch.from_numpy(pixels / np.float32(255))[None])
    return Opened(pixels, torch.from_numpy(over(pixels / 255.0, prior.background or 0.0).astype(np.float32))[None])


def with_coverage(pixels: np.ndarray) -> tuple[np.ndarray, str]:
    """[H, W, 3] with an alpha of its own, and how that was found."""
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]).astype(float)
    color = np.median(border, axis=0)
    if np.abs(border - color).mean() > PLAIN:
        return np.dstack(
            [pixels, np.full(pixels.shape[:2], 255, np.uint8)]
        ), "its background is not plain: all of it counts"
    distance = np.linalg.norm(pixels - color, axis=-1) / (255 * np.sqrt(3))
    alpha = np.clip((distance - CUT[0]) / (CUT[1] - CUT[0]), 0, 1)
    straight = color + (pixels - color) / np.maximum(alpha, 1e-3)[..., None]  # what lies under half a coverage
    colors = np.where(alpha[..., None] > 0.05, straight, pixels)
    return np.dstack([to_bytes(colors / 255), to_bytes(alpha)]), "what differs from its plain background counts"


def fitted(pixels: np.ndarray, size: int) -> np.ndarray:
    """uint8 [H, W, C] as [size, size, C]: the whole picture, its shorter side filled up with the border's median colour
    (or, with alpha, with nothing)."""
    height, width, channels = pixels.shape
    if (height, width) == (size, size):
        return pixels
    side = max(height, width)
    fill = np.zeros(4, np.uint8) if channels == 4 else np.median(pixels[0].astype(float), axis=0).astype(np.uint8)
    square = np.broadcast_to(fill, (side, side, channels)).copy()
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = pixels
    # PIL resizes RGBA with premultiplied colours: nothing of what is under no coverage bleeds in
    return np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.LANCZOS))


def over(picture: np.ndarray, background: float) -> np.ndarray:
    """[..., 4] straight in 0..1 to colour over a grey level, and the same alpha."""
    alpha = picture[..., 3:]
    return np.concatenate([picture[..., :3] * alpha + background * (1 - alpha), alpha], -1)


def straight(pictures: Tensor, background: float | None) -> np.ndarray:
    """What a prior made [B, H, W, C], as uint8 with straight alpha: the inverse of `over`."""
    made = pictures.clamp(0, 1).double().cpu().numpy()
    if made.shape[-1] == 3 or background is None:
        return to_bytes(made)
    alpha = made[..., 3:]
    colors = (made[..., :3] - background * (1 - alpha)) / np.maximum(alpha, 1e-6)
    return to_bytes(np.concatenate([np.where(alpha > 0.5 / 255, colors, 0), alpha], -1))


def open_mask(path: str | Path, prior: Prior, shape: tuple[int, int]) -> Tensor:
    """A mask file as bool [1, H, W], True where it is white: there the picture is to change.

    Args:
        shape: height and width of the picture's file, which the mask must have; or the prior's own size.
    Raises:
        UserError: see `read_picture`; or its size is another one, or it is all black.
    """
    pixels = read_picture(path)
    if pixels.shape[:2] not in (shape, (prior.resolution,) * 2):
        (h, w), (wanted_h, wanted_w) = pixels.shape[:2], shape
        raise UserError(f"{path}: the mask has {w} x {h} pixels, the picture {wanted_w} x {wanted_h}")
    grey = pixels[..., :3].mean(-1) * (pixels[..., 3] / 255 if pixels.shape[2] == 4 else 1)
    white = fitted(np.repeat(to_bytes(grey / 255)[..., None], 3, -1), prior.resolution)[..., 0] > 127
    if not white.any():
        raise UserError(f"{path}: the mask is black everywhere; white is where the picture changes")
    return torch.from_numpy(white)[None]


def size_of(path: str | Path) -> tuple[int, int]:
    """Height and width of a picture file."""
    height, width = read_picture(path).shape[:2]
    return height, width


def check_out(out: str | Path) -> Path:
    """The path of a PNG to write.

    Raises:
        UserError: another ending, or it is a folder.
    """
    path = Path(out)
    if path.suffix.lower() != ".png" or path.is_dir():
        raise UserError(f"{out}: the picture is a PNG, give a file name that ends in .png")
    return path


def write_grid(pictures: np.ndarray, path: Path, columns: int = 4) -> None:
    """uint8 [B, H, W, C] side by side in rows of at most `columns`, as one PNG."""
    write_png(side_by_side(pictures, columns), path)


def side_by_side(pictures: np.ndarray, columns: int = 4) -> np.ndarray:
    """[B, H, W, C] as one picture [rows * H, columns * W, C]; empty places are 0."""
    columns = min(columns, len(pictures))
    missing = -len(pictures) % columns
    filled = np.concatenate([pictures, np.zeros((missing, *pictures.shape[1:]), pictures.dtype)])
    rows = filled.reshape(-1, columns, *pictures.shape[1:])
    return rows.transpose(0, 2, 1, 3, 4).reshape(-1, columns * pictures.shape[2], pictures.shape[3])
