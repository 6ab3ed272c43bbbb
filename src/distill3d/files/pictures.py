"""Pictures as PNG."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from distill3d.files.atomic import write_bytes


def to_bytes(picture: np.ndarray) -> np.ndarray:
    """0..1 -> uint8, rounded to the nearest; uint8 stays as it is."""
    if picture.dtype == np.uint8:
        return picture
    return (np.clip(picture, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def png(picture: np.ndarray) -> bytes:
    """A picture [H, W], [H, W, 3] or [H, W, 4], uint8 or 0..1, as the bytes of a PNG; equal pictures, equal bytes."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(to_bytes(picture))).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def write_png(picture: np.ndarray, path: Path) -> None:
    """Writes a PNG, whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    write_bytes(path, png(picture))
