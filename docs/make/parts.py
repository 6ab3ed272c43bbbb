"""The pictures in docs/parts.md, made by the functions behind its commands: python docs/make/parts.py"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from distill3d.run import parts
from distill3d.run.parts import Asked

OUT = Path(__file__).resolve().parents[1] / "pictures"


def stacked(sheets: list[Path], name: str) -> None:
    """Sheets one below the other, as docs/pictures/NAME.png."""
    pictures = [np.asarray(Image.open(sheet).convert("RGB")) for sheet in sheets]
    width = max(picture.shape[1] for picture in pictures)
    rows = [np.pad(p, ((0, 6), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in pictures]
    image = Image.fromarray(np.concatenate(rows)).quantize(128)
    image.save(OUT / f"{name}.png", optimize=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)

        def asked(name: str, **more: int) -> Asked:
            return replace(Asked(resolution=96), out=home / name, **more)

        sentences = {
            "chair": "a chair with round arms, wheels and a slatted back",
            "table": "a table with a round top and a pedestal",
            "lamp": "a lamp with a conical shade and three feet",
            "plane": "a plane with swept wings and two engines",
        }
        for name, sentence in sentences.items():
            parts.generate(sentence, asked(name, count=3, seed=1))
        stacked([home / name / "sheet.png" for name in sentences], "parts-generate")

        chair = home / "chair" / "shape-0.safetensors"
        parts.complete(chair, "back", asked("complete", count=3, seed=2))
        parts.edit(chair, "it's the one with gaps in the back", "back", asked("edit", count=3, seed=3))
        stacked([home / "complete" / "sheet.png", home / "edit" / "sheet.png"], "parts-complete-edit")

        parts.generate("a chair with four legs and a solid back", asked("other", seed=4))
        other = home / "other" / "shape-0.safetensors"
        parts.mix(other, chair, "seat,leg", "back,arm", asked("mix", count=3, seed=5))
        parts.interpolate(other, chair, asked("between", count=4))
        parts.move(other, "back", asked("move"), translate=(0.0, 0.0, 0.15))
        stacked([home / name / "sheet.png" for name in ("mix", "between", "move")], "parts-mix-move")


if __name__ == "__main__":
    main()
