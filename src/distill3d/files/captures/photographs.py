"""Photographs from disk, made smaller on the way in, as bytes in one tensor."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from distill3d.core.errors import UserError
from distill3d.files.picture_reading import open_image

LARGEST_CAPTURE = 6 << 30  # bytes of all pictures together, after they were made smaller
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels, from the file's header alone.

    Raises:
        UserError: it is no picture, or one of absurd size.
    """
    with open_image(path) as image:
        return image.size


def load_pictures(paths: Sequence[Path], size: tuple[int, int], factor: int) -> np.ndarray:
    """Pictures of one size, each the mean over blocks of `factor` x `factor` pixels.

    Args:
        size: width and height that every file must have.
        factor: at least 1; rows and columns that fill no block are cut off.

    Returns:
        uint8 [F, H, W, 3], or [F, H, W, 4] with straight alpha where any of the files has an alpha.
    Raises:
        UserError: a file that is no picture, truncated, of another size, or of a kind that is not read; or more
            pixels altogether than fit into memory.
    """
    width, height = size[0] // factor, size[1] // factor
    with_alpha = any(_in_each(paths, _has_alpha))
    channels = 4 if with_alpha else 3
    total = len(paths) * width * height * channels
    if total > LARGEST_CAPTURE:
        raise UserError(
            f"{len(paths)} pictures of {width} x {height} take {total / 2**30:.1f} GiB: "
            "make them smaller with a larger downscale"
        )
    out = np.empty((len(paths), height, width, channels), np.uint8)

    def load(i: int) -> None:
        out[i] = _pixels(paths[i], size, factor, "RGBA" if with_alpha else "RGB")

    _in_each(range(len(paths)), load)
    return out


def load_mask(path: Path, size: tuple[int, int], factor: int) -> np.ndarray:
    """[H, W] bool: pixels all of whose block counts (more than half white).

    Raises:
        UserError: as for pictures.
    """
    return _pixels(path, size, factor, "L") > 127


def _pixels(path: Path, size: tuple[int, int], factor: int, mode: str) -> np.ndarray:
    with open_image(path) as image:
        if image.size != size:
            turned = " (turned: save it without its EXIF orientation)" if image.size == size[::-1] else ""
            raise UserError(
                f"{path}: is {image.size[0]} x {image.size[1]} pixels, its camera says {size[0]} x {size[1]}{turned}"
            )
        if image.mode not in MODES:
            raise UserError(f"{path}: pixels of kind {image.mode!r} are not read; save it with 8 bits a channel")
        try:
            image = image.convert(mode)
            if factor > 1:
                whole = (size[0] // factor * factor, size[1] // factor * factor)
                image = image.crop((0, 0, *whole)).reduce(factor)
            return np.asarray(image)
        except Exception as error:  # a damaged file makes a decoder raise anything
            raise UserError(f"{path}: the picture is damaged ({error})") from error


def _has_alpha(path: Path) -> bool:
    with open_image(path) as image:
        return image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info


def _in_each(items: Sequence, job: Callable) -> list:  # type: ignore[type-arg]
    """Decoding runs outside of Python, so threads do it side by side."""
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(job, items))
