"""Makes docs/gallery.md and its pictures by running the commands that it shows: docs/make/gallery.py [RUNS]

Ten sentences with three systems each, and five pictures. What is in the folder RUNS (default: outputs/gallery) already
is not run again. Every asset is judged against the toybox's ground truth, and what the judge says stands beside it.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import image_to_3d  # noqa: E402
import text_to_3d  # noqa: E402

from distill3d.run.scene import load_run  # noqa: E402
from distill3d.toybox.references import References, build_references  # noqa: E402
from distill3d.toybox.verdict import judge  # noqa: E402

PAGE, PICTURES = ROOT / "docs" / "gallery.md", ROOT / "docs" / "pictures" / "gallery"
SYSTEMS = ("dreamfusion", "dreamgaussian", "mvdream")
PROMPTS = (
    "a red mushroom",
    "a blue chair",
    "a yellow duck",
    "a green cactus",
    "a white mug",
    "an orange car",
    "a red airplane",
    "a green teapot",
    "a purple snowman",
    "a green pine tree",
)
PHOTOGRAPHED = ("chair", "car", "duck", "teapot", "boat")
INTRODUCTION = """# Gallery

Every asset on this page was made by the command beside it, on a CPU, with the embedded models, at the default seed, and
the page itself by `docs/make/gallery.py`. Below each stands what `distill3d.toybox.verdict` says of the mesh. It knows
what such things look like in space (no network takes part): whether shape and colour are what was asked for, and the
overlap (IoU) with the nearest object of the toybox; of what was made from a picture, the overlap with that very thing.
All were run with `threads=1`, two at a time on two cores: on more threads the seconds are fewer, and sums go in another
order, so that an asset is alike and not the same to the byte. Training never met a blue chair, an orange car, a green
teapot or a purple snowman.
"""


@dataclass(frozen=True)
class Shown:
    """One asset of the page."""

    command: str
    picture: Path
    said: str


def views(run: Path, name: str) -> Path:
    """Four of a run's eight views, a quarter turn apart, as a picture of the page."""
    strip = Image.open(run / "views.png").convert("RGB")
    side = strip.height
    four = Image.new("RGB", (4 * side, side))
    for i in range(4):
        four.paste(strip.crop((2 * i * side, 0, (2 * i + 1) * side, side)), (i * side, 0))
    path = PICTURES / f"{name}.jpg"
    four.save(path, quality=88, optimize=True)
    return path


def ran(config: str, told: Sequence[str], run: Path) -> None:
    """Makes the asset, unless it is there."""
    if (run / "asset.glb").is_file():
        return
    start = time.perf_counter()
    problem = text_to_3d.make(config, [*told, "threads=1"], text_to_3d.fresh(run))
    if problem:
        raise SystemExit(f"{config} {' '.join(told)}: {problem}")
    print(f"{config} {' '.join(told)}: {time.perf_counter() - start:.0f} s", flush=True)


def from_sentence(prompt: str, system: str, runs: Path, references: References) -> Shown:
    name = f"{system}-{prompt.replace(' ', '-')}"
    run = runs / name
    ran(system, [f"prompt={prompt}"], run)
    verdict = judge(run / "asset.glb", prompt, references)
    wrong = [f"taken for a {verdict.shape}"] * (not verdict.shape_right) + [verdict.hue] * (not verdict.color_right)
    said = f"{', '.join(wrong) or 'told right'}, IoU {verdict.iou:.2f}, {seconds(run)}"
    return Shown(f'distill3d run {system} prompt="{prompt}"', views(run, name), said)


def from_picture(category: str, runs: Path) -> tuple[Path, Shown]:
    """The given picture, and what was made of it."""
    thing = image_to_3d.subject(image_to_3d.CATEGORIES.index(category), category)
    given, run = PICTURES / f"{category}.png", runs / f"zero123-{category}"
    image_to_3d.photograph(thing, given)
    elevation = f"elevation={math.degrees(thing.camera.elevation[0]):.1f}"
    ran("zero123", [f"image={given}", elevation], run)
    seen = image_to_3d.in_the_runs_world(thing, load_run(run).camera)
    overlap = image_to_3d.overlap(seen, run / "asset.glb")
    command = f"distill3d run zero123 image={given.relative_to(ROOT)} {elevation}"
    return given, Shown(command, views(run, f"zero123-{category}"), f"IoU {overlap:.2f}, {seconds(run)}")


def seconds(run: Path) -> str:
    took = text_to_3d.seconds_of(run)
    return "" if took is None else f"{took:.0f} s"


def shown(asset: Shown) -> str:
    """One asset as Markdown: its four views, the command, what was said of it."""
    return f"![four sides](pictures/gallery/{asset.picture.name})\n\n```bash\n{asset.command}\n```\n\n{asset.said}\n"


def main() -> None:
    runs = Path(sys.argv[1] if len(sys.argv) > 1 else "outputs/gallery")
    PICTURES.mkdir(exist_ok=True)
    references = build_references(cache=runs / "references.npz")
    parts = [INTRODUCTION, "## From a sentence\n"]
    for prompt in PROMPTS:
        parts.append(f"### {prompt[0].upper()}{prompt[1:]}\n")
        parts += [shown(from_sentence(prompt, system, runs, references)) for system in SYSTEMS]
    parts.append("## From a picture\n")
    for category in PHOTOGRAPHED:
        given, asset = from_picture(category, runs)
        parts.append(f"### A picture of a {category}\n\n![given](pictures/gallery/{given.name})\n\n{shown(asset)}")
    PAGE.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
