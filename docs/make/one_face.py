"""Draws docs/pictures/one-face.png from the runs of benchmarks/one_face.py: docs/make/one_face.py [RUNS]"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw

PROMPTS, WAYS = ("a yellow duck", "a brown dog", "an orange fish", "a red chair"), ("camera", "words", "perp_neg")
LABEL, WIDTH, HEIGHT = 100, 640, 80
BACKDROP, INK = (237, 236, 242), (60, 60, 60)


def row(runs: Path, prompt: str, way: str) -> Image.Image:
    """A run's eight views, and which it is."""
    views = Image.open(runs / way / prompt.replace(" ", "-") / "views.png").convert("RGB")
    strip = Image.new("RGB", (LABEL + WIDTH, HEIGHT), BACKDROP)
    strip.paste(views.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS), (LABEL, 0))
    ImageDraw.Draw(strip).text((8, 28), f"{prompt.partition(' ')[2]}\n{way.replace('_', '-')}", fill=INK)
    return strip


def main() -> None:
    runs = Path(sys.argv[1] if len(sys.argv) > 1 else "outputs/one_face")
    rows = [row(runs, prompt, way) for prompt in PROMPTS for way in WAYS]
    sheet = Image.new("RGB", (LABEL + WIDTH, HEIGHT * len(rows)))
    for i, strip in enumerate(rows):
        sheet.paste(strip, (0, HEIGHT * i))
    sheet.quantize(128).save(Path(__file__).parents[1] / "pictures" / "one-face.png", optimize=True)


if __name__ == "__main__":
    main()
