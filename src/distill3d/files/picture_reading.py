"""A person's picture file as an array: upright, eight bits a channel, refused in one line where it is damaged."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from distill3d.core.errors import UserError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
MOST_PIXELS = 1 << 26  # a photograph of 64 megapixels


def read_picture(path: str | Path) -> np.ndarray:
    """The picture, uint8 [H, W, 4] with straight alpha where the file has one, else [H, W, 3].

    Turned as its EXIF data says; grey, palette and 16-bit pictures become eight bits of RGB.

    Raises:
        UserError: it is not there, no picture, damaged, or too large.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: {'it is a folder' if path.is_dir() else 'there is no such file'}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image: Image.Image = Image.open(path, formats=FORMATS)
            if image.width * image.height > MOST_PIXELS:
                raise UserError(f"{path}: {image.width} x {image.height} pixels are more than are read")
            image.load()
            return np.asarray(_as_rgb(ImageOps.exif_transpose(image)))
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: more pixels than are read") from error
    except Exception as error:  # a damaged file makes a decoder raise anything
        kind = "no PNG, JPEG, WEBP, BMP or TIFF" if "identify" in str(error) else f"it is damaged ({error})"
        raise UserError(f"{path}: {kind}") from error


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.asarray(image, np.float64)
        top = 65535.0 if values.max(initial=0) > 255 else 255.0
        image = Image.fromarray(np.clip(values * (255.0 / top) + 0.5, 0, 255).astype(np.uint8))
    alpha = image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info
    return image.convert("RGBA" if alpha else "RGB")
