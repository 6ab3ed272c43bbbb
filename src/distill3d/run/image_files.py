"""Between picture files and a prior: sizes, coverage, masks, and grids with straight alpha."""

from __future__ import annotations

import os
import tempfile
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
        pixels: uint8 [H, W, 3 or 4], straight alpha; the file's own, at the prior's size.
        images: [1, H, W, C] in 0..1, with the prior's channels, colour over the prior's background.
    """

    pixels: np.ndarray
    images: Tensor

    def as_given(self, pictures: np.ndarray) -> np.ndarray:
        """What a prior made of it, uint8 [B, H, W, C] with straight alpha, with alpha only if the file has some.

        Where it has none, over the file's background.
        """
        if pictures.shape[-1] == self.pixels.shape[-1]:
            return pictures
        return to_bytes(over(pictures / 255.0, border_color(self.pixels) / 255.0)[..., :3])


def open_picture(path: str | Path, prior: Prior, tell: Tell) -> Opened:
    """Reads a picture file and fits it to a prior: squared, resized, and with or without coverage.

    A prior that knows coverage is given that of the file; where it has none, what differs from a plain background is
    covered, and all of it where the background is not plain. A picture that is opaque all over counts as one without.
    A prior that does not know coverage gets the picture on white.

    Args:
        tell: hears what was changed, a line each.
    Raises:
        UserError: see `read_picture`.
    """
    pixels = read_picture(path)
    if pixels.shape[2] == 4 and pixels[..., 3].min() == 255:
        pixels = pixels[..., :3]
    tell_size(path, pixels, prior, tell)
    if not prior.sees_alpha:
        pixels = fitted(pixels, prior.resolution)
        pixels = to_bytes(over(pixels / 255.0, 1.0)[..., :3]) if pixels.shape[2] == 4 else pixels
        return Opened(pixels, torch.from_numpy(pixels / np.float32(255))[None])
    covered = pixels
    if pixels.shape[2] == 3:
        covered, how = with_coverage(pixels)
        tell(f"{path}: it has no alpha; {how}")
    pixels, covered = fitted(pixels, prior.resolution), fitted(covered, prior.resolution)
    return Opened(pixels, torch.from_numpy(over(covered / 255.0, prior.background or 0.0).astype(np.float32))[None])


def tell_size(path: str | Path, pixels: np.ndarray, prior: Prior, tell: Tell) -> None:
    """Says that a picture is of another size than the prior's, if it is."""
    (height, width), size = pixels.shape[:2], prior.resolution
    if (height, width) != (size, size):
        tell(f"{path}: {width} x {height} pixels, fitted into the prior's {size} x {size}")


def border_color(pixels: np.ndarray) -> np.ndarray:
    """The median colour along the border of [H, W, C], [C]."""
    return np.median(_border(pixels), axis=0)


def _border(pixels: np.ndarray) -> np.ndarray:
    return np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]).astype(float)


def with_coverage(pixels: np.ndarray) -> tuple[np.ndarray, str]:
    """[H, W, 3] with an alpha of its own, and how that was found."""
    color = border_color(pixels)
    if np.abs(_border(pixels) - color).mean() > PLAIN:
        whole = np.full(pixels.shape[:2], 255, np.uint8)
        return np.dstack([pixels, whole]), (
            "its background is not plain, so all of it counts: better cut the object out, as a PNG with alpha"
        )
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
    fill = np.zeros(4, np.uint8) if channels == 4 else border_color(pixels).astype(np.uint8)
    square = np.broadcast_to(fill, (side, side, channels)).copy()
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = pixels
    # PIL resizes RGBA with premultiplied colours: nothing of what is under no coverage bleeds in
    return np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.LANCZOS))


def over(picture: np.ndarray, background: float | np.ndarray) -> np.ndarray:
    """[..., 4] straight in 0..1 to colour over a grey level, or over a colour [3], and the same alpha."""
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


def check_out(out: str | Path, *inputs: str | Path | None) -> Path:
    """The path of a PNG to write.

    Args:
        inputs: files that are read, and must not be lost.
    Raises:
        UserError: another ending, a folder, a place where nothing can be written, or one of the inputs.
    """
    path = Path(out)
    if path.suffix.lower() != ".png" or path.is_dir():
        raise UserError(f"{out}: the picture is a PNG, give a file name that ends in .png")
    for given in inputs:
        if given is not None and path.exists() and Path(given).exists() and path.samefile(given):
            raise UserError(f"{out} is a picture that is read, and would be lost: give another file with --out")
    check_writable(path)
    return path


def check_writable(path: Path) -> None:
    """Tries, and leaves nothing behind: a person should not wait for a picture that then cannot be written.

    Raises:
        UserError: no file can be made there.
    """
    there = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise UserError(f"{path} cannot be written ({there}: {error.strerror or error})") from error


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
