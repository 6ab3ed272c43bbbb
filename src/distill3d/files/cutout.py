"""The object of a picture, cut out of its background and put in the middle."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage

from distill3d.core.errors import UserError

PLAIN = 24  # of 255, in any channel: how far a background of one colour may stray, in JPEG files too
PLAIN_SHARE = 0.9  # of the border's pixels
SPECK = 0.01  # share of the largest part that others have to have, so as not to be taken for dirt
LEAST = 0.002  # share of the picture that an object has to cover


def cut_out(picture: np.ndarray, where: Any) -> np.ndarray:
    """The object with its coverage: by the picture's alpha, else against a background of one colour, else by rembg.

    Args:
        picture: uint8, [H, W, 4] with straight alpha or [H, W, 3], as `read_picture` gives it.
        where: what error messages call it.
    Returns:
        uint8 [H, W, 4], straight alpha.
    Raises:
        UserError: nothing or everything is the object, or it does not stand out and rembg is not installed.
    """
    if picture.shape[-1] == 4 and (picture[..., 3] < 255).any():
        found = picture
    else:
        mask = _against_plain(picture[..., :3])
        found = _by_rembg(picture[..., :3], where) if mask is None else np.dstack([picture[..., :3], 255 * mask])
    covered = float((found[..., 3] > 127).mean())
    if covered < LEAST:
        raise UserError(f"{where}: no object is seen in it, {100 * covered:.1f} % of its pixels stand out")
    return found.astype(np.uint8)


def recentred(cutout: np.ndarray, size: int, fill: float = 0.8) -> np.ndarray:
    """The object in the middle of a square, its longer side `fill` of the square's.

    Args:
        cutout: uint8 [H, W, 4], straight alpha. size: pixels.
    Returns:
        float32 [size, size, 4] in 0..1: colour premultiplied by coverage, and coverage.
    """
    rows, columns = (np.flatnonzero((cutout[..., 3] > 12).any(axis)) for axis in (1, 0))
    part = cutout[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32) / 255
    part[..., :3] *= part[..., 3:]
    side = max(part.shape[:2])
    height, width = (max(1, round(fill * size * n / side)) for n in part.shape[:2])
    pixels = torch.from_numpy(part).permute(2, 0, 1)[None]
    small = F.interpolate(pixels, (height, width), mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
    square = np.zeros((size, size, 4), np.float32)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = small
    return square.clip(0, 1)


def _against_plain(rgb: np.ndarray) -> np.ndarray | None:
    """[H, W] bool, what is not background; None where the border is not of one colour.

    Background is what looks like the border and hangs together with it: a white eye on white paper stays. Specks go
    too: JPEG leaves some around an edge.
    """
    border = np.concatenate([rgb[0], rgb[-1], rgb[:, 0], rgb[:, -1]]).astype(int)
    color = np.median(border, axis=0)
    if (np.abs(border - color).max(-1) <= PLAIN).mean() < PLAIN_SHARE:
        return None
    alike = np.abs(rgb.astype(int) - color).max(-1) <= PLAIN
    regions, _ = ndimage.label(alike)
    rim = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    parts, count = ndimage.label(~np.isin(regions, np.unique(rim[rim > 0])))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    return np.isin(parts, np.flatnonzero(sizes > SPECK * sizes.max()))


def _by_rembg(rgb: np.ndarray, where: Any) -> np.ndarray:
    if find_spec("rembg") is None:
        raise UserError(
            f"{where}: the background is not of one colour; give a picture with alpha, or pip install rembg"
        )
    from rembg import remove

    return np.asarray(remove(Image.fromarray(rgb)).convert("RGBA"))
