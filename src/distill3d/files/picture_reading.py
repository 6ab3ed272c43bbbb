"""A person's picture file as an array: upright, eight bits a channel, refused in one line where it is damaged."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from distill3d.core.errors import UserError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
LONGEST_SIDE = 1 << 16  # pixels
LARGEST_PICTURE = 1 << 28  # pixels in one file


def read_picture(path: str | Path) -> np.ndarray:
    """The picture, uint8 [H, W, 4] with straight alpha where the file has one, else [H, W, 3].

    Turned as its EXIF data says; grey, palette and 16-bit pictures become eight bits of RGB.

    Raises:
        UserError: it is not there, no picture, damaged, or too large.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: {'it is a folder' if path.is_dir() else 'there is no such file'}")
    with open_image(path) as image:
        try:
            image.load()
            return np.asarray(_as_rgb(ImageOps.exif_transpose(image)))
        except Exception as error:  # a damaged file makes a decoder raise anything
            raise UserError(f"{path}: the picture is damaged ({error})") from error


def open_image(path: Path) -> Image.Image:
    """A picture file whose header was read, of a size that a photograph may have.

    Raises:
        UserError: it cannot be read, is no picture, or larger than any photograph.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: larger than any photograph ({error})") from error
    except Exception as error:  # a damaged header makes a decoder raise anything
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no PNG, JPEG, WEBP, BMP or TIFF"
        raise UserError(f"{path}: cannot be read ({reason})") from error
    if image.width * image.height > LARGEST_PICTURE or max(image.size) > LONGEST_SIDE or min(image.size) < 1:
        image.close()
        raise UserError(f"{path}: {image.width} x {image.height} pixels is larger than any photograph")
    return image


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.asarray(image, np.float64)
        top = 65535.0 if values.max(initial=0) > 255 else 255.0
        image = Image.fromarray(np.clip(values * (255.0 / top) + 0.5, 0, 255).astype(np.uint8))
    alpha = image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info
    return image.convert("RGBA" if alpha else "RGB")
