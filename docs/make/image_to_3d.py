"""Draws docs/pictures/image-to-3d.png from the runs of benchmarks/image_to_3d.py: docs/make/image_to_3d.py [RUNS]

Each line: the picture that was given, then the toy as it is from eight other places, and below what was made of it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

SHOWN = ("chair", "car", "duck", "teapot", "boat")
GREY = (127, 127, 127)


def line(runs: Path, name: str) -> Image.Image:
    beside = Image.open(runs / name / "beside.png").convert("RGB")
    picture = Image.open(runs / f"{name}.png").convert("RGBA").resize((beside.height,) * 2, Image.Resampling.LANCZOS)
    row = Image.new("RGB", (beside.height + 8 + beside.width, beside.height), (255, 255, 255))
    row.paste(GREY, (0, 0, beside.height, beside.height))
    row.paste(picture, (0, 0), picture)
    row.paste(beside, (beside.height + 8, 0))
    return row


def main() -> None:
    runs = Path(sys.argv[1] if len(sys.argv) > 1 else "outputs/image_to_3d")
    rows = [line(runs, name) for name in SHOWN]
    sheet = Image.new("RGB", (rows[0].width, sum(r.height + 8 for r in rows) - 8), (255, 255, 255))
    for i, row in enumerate(rows):
        sheet.paste(row, (0, i * (row.height + 8)))
    sheet.save(Path(__file__).parents[1] / "pictures" / "image-to-3d.png", optimize=True)


if __name__ == "__main__":
    main()
