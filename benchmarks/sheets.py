"""The views of many assets on one picture, a run a line, with what a judge said beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw

from distill3d.core.errors import UserError

GOOD, BAD = (30, 110, 40), (170, 30, 30)


class Line(NamedTuple):
    """A run: the picture that it wrote, which may be missing, what is said of it, and whether it is right."""

    views: Path
    text: str
    right: bool


def write_sheet(path: Path, lines: Sequence[Line], label: int = 190) -> None:
    """One picture for all lines.

    Args:
        label: pixels for the text.
    Raises:
        UserError: no line has a picture.
    """
    strips = [Image.open(line.views).convert("RGB") if line.views.is_file() else None for line in lines]
    shown = [strip for strip in strips if strip is not None]
    if not shown:
        raise UserError("no run has a views.png: there is nothing to put on the sheet")
    width, height = max(strip.width for strip in shown), max(strip.height for strip in shown)
    sheet = Image.new("RGB", (label + width, height * len(lines)), (240, 240, 242))
    pen = ImageDraw.Draw(sheet)
    for i, (line, strip) in enumerate(zip(lines, strips, strict=True)):
        if strip is not None:
            sheet.paste(strip, (label, i * height))
        pen.text((8, (i + 0.5) * height), line.text, fill=GOOD if line.right else BAD, anchor="lm")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)
