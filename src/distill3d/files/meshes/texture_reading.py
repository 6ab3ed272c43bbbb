"""Pictures inside or beside a mesh file: their size is judged before a pixel is decoded."""

from __future__ import annotations

import io
import re
import warnings

import numpy as np
from PIL import Image

from distill3d.files.meshes.limits import BadMesh

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TGA")
MOST_PIXELS = 1 << 26  # of one picture: 8192 x 8192
MOST_IN_ALL = 1 << 27  # of all pictures of one mesh
LARGEST_SIDE = 4096  # larger ones are averaged down to it
MOST_BYTES = 1 << 28  # of a picture's file


class PictureBudget:
    """Decodes the pictures of one mesh file, `MOST_IN_ALL` pixels of them at most."""

    def __init__(self) -> None:
        self.left = MOST_IN_ALL
        self.notices: list[str] = []

    def decode(self, data: bytes, name: str) -> np.ndarray:
        """One picture as [H, W, 3] uint8, row 0 at the top; transparency is dropped, 16 bits become 8.

        Args:
            data: the bytes of a PNG, JPEG, WebP, BMP or TGA. name: for messages.
        Raises:
            BadMesh: none of these, truncated, or more pixels than are read (a small file can declare gigabytes).
        """
        too_large = f"picture {name} declares {{}} pixels, more than the {MOST_PIXELS >> 20} Mi that are read"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PIL's own warning of bombs starts above our limit
                image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
            width, height = image.size
            if width * height > MOST_PIXELS or not width * height:
                raise BadMesh(too_large.format(f"{width} x {height}"))
            self.left -= width * height
            if self.left < 0:
                raise BadMesh(f"its pictures have more than {MOST_IN_ALL >> 20} Mi pixels in all; make them smaller")
            side = max(width, height)
            if side > LARGEST_SIDE:
                if image.mode in ("P", "1"):  # indices cannot be averaged
                    image = image.convert("RGB")
                image = image.reduce(-(-side // LARGEST_SIDE))
                self.notices.append(
                    f"picture {name} was reduced from {width} x {height} to {image.width} x {image.height}"
                )
            return _bytes(image)
        except BadMesh:
            raise
        except Image.DecompressionBombError as error:
            found = re.search(r"\d+", str(error))
            raise BadMesh(too_large.format(f"{int(found[0]):,}" if found else "too many")) from error
        except Image.UnidentifiedImageError as error:
            raise BadMesh(f"picture {name} is not a readable PNG, JPEG, WebP, BMP or TGA") from error
        except Exception as error:  # PIL's decoders raise whatever they meet: OSError, SyntaxError, struct.error ...
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise BadMesh(f"picture {name} is truncated or damaged ({reason})") from error


def _bytes(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):  # 16 bits of grey, which PIL would cut off at 255
        grey = np.asarray(image).astype(np.float64) / 257.0
        return np.repeat(grey.clip(0, 255).round().astype(np.uint8)[..., None], 3, -1)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return np.ascontiguousarray(np.asarray(image.convert("RGB")))
