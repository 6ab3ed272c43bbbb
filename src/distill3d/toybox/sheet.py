"""A contact sheet of the toybox: what it can show, at a glance. `distill3d toybox show`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.files.pictures import write_png
from distill3d.toybox.categories import CATEGORIES
from distill3d.toybox.parts import Toy
from distill3d.toybox.pictures import pack, picture
from distill3d.toybox.world import sample_toy

CAPTION = 14  # pixels under every picture
PAPER = 0.93
RELATIONS = 8  # pictures of two objects at the end


def contact_sheet(out: str | Path, seed: int = 0, columns: int = 9, size: int = 128) -> Path:
    """One toy of every category, then some of two objects, each with its plainest caption, as a PNG.

    Args:
        out: the file to write; missing folders are made.
        size: pixels of one picture.
    Raises:
        UserError: `out` is not a PNG or cannot be written.
    """
    path = Path(out)
    if path.suffix.lower() != ".png":
        raise UserError(f"a contact sheet is a PNG: {path} should end in .png")
    rng = np.random.default_rng(seed)
    toys = [sample_toy(rng, split="all", category=name, material_rate=0.3) for name in CATEGORIES]
    toys += [sample_toy(rng, split="all", relation_rate=1.0) for _ in range(RELATIONS)]
    pictures = [_shown(toy, rng, size) for toy in toys]
    sheet = grid(pictures, [toy.captions[0] for toy in toys], columns)
    write_png(np.asarray(sheet), path)
    return path


def grid(pictures: Sequence[np.ndarray], captions: Sequence[str], columns: int) -> Image.Image:
    """Square pictures [H, H, 4], 0..1 and premultiplied, row by row on paper, a caption under each ("" for none)."""
    size = pictures[0].shape[0]
    rows = -(-len(pictures) // columns)
    strip = CAPTION if any(captions) else 0
    sheet = np.full((rows * (size + strip), columns * size, 3), PAPER)
    corners = [((i // columns) * (size + strip), (i % columns) * size) for i in range(len(pictures))]
    for (top, left), rgba in zip(corners, pictures, strict=True):
        sheet[top : top + size, left : left + size] = rgba[..., :3] + PAPER * (1 - rgba[..., 3:])
    image = Image.fromarray(np.round(255 * sheet.clip(0, 1)).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for (top, left), caption in zip(corners, captions, strict=True):
        pen.text(
            (left + size // 2, top + size + strip // 2), _fitted(pen, caption, size), fill=(40, 40, 40), anchor="mm"
        )
    return image


def _fitted(pen: ImageDraw.ImageDraw, caption: str, width: int) -> str:
    """The caption, cut with dots where it is wider than `width` pixels."""
    text = caption
    while text and pen.textlength(text) > width - 4:
        text = text.rstrip(".")[:-1].rstrip() + ".."
    return text


def _shown(toy: Toy, rng: np.random.Generator, size: int) -> np.ndarray:
    """From the front, a little aside and above, in a random direction."""
    camera = Cameras.orbit(
        math.radians(float(rng.uniform(-60, 60))), math.radians(float(rng.uniform(10, 35))), 2.9, size=size
    )
    pose, lens = camera.camera_to_world[0].double().numpy(), camera.intrinsics[0].double().numpy()
    return picture(pack(toy), pose, lens, size, light=1.0, factor=3)
