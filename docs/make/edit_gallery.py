"""Makes docs/edit-gallery.md by running the commands that it shows: docs/make/edit_gallery.py [RUNS]

Ten of the pairs of benchmarks/editing, of NeRFs and of splats. What is in the folder RUNS (default:
outputs/editing, where the benchmark keeps its runs) already is not run again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "benchmarks" / "editing")]
import pairs  # noqa: E402
from scenes import PAIRS, Pair  # noqa: E402

from distill3d.toybox.references import References, build_references  # noqa: E402

PAGE, PICTURES = ROOT / "docs" / "edit-gallery.md", ROOT / "docs" / "pictures" / "edit-gallery"
SHOWN = (  # what is edited into what, by which method, of which renderer
    ("a blue car", "a yellow car", "pds", "nerf"),
    ("a yellow lamp", "a blue lamp", "pds", "nerf"),
    ("a purple umbrella", "a red umbrella", "pds", "nerf"),
    ("a red cube", "a striped red cube", "pds", "nerf"),
    ("a green tree", "a green pine tree", "pds", "nerf"),
    ("a red stool", "a red chair", "pds", "nerf"),
    ("a blue table", "a wooden table", "pds", "nerf"),
    ("a white mug", "a green mug", "pds", "gaussians"),
    ("a yellow duck", "a pink duck", "pds", "gaussians"),
    ("a red mushroom", "a blue mushroom", "pds", "gaussians"),
)
INTRODUCTION = """# Edits, before and after

Each pair was made by the two commands beside it, on a CPU, with the embedded models, at the default seed, and the page
by `docs/make/edit_gallery.py` (`threads=1`, and a smaller export). Four sides, before above after. Below stands what
`distill3d.toybox.verdict` says of the edited mesh; it knows what such things look like in space, and no network takes
part. Where the edit of a NeRF is held to a region, nothing beside it has changed. [editing.md](editing.md) tells of all
the pairs.
"""


def commands(pair: Pair, method: str, renderer: str) -> str:
    made = f'distill3d run {pairs.MAKERS[renderer]} prompt="{pair.before}" --out outputs/before'
    region = "" if pair.region is None else f" --region {pair.region}"
    told = f'"{pair.before}" "{pair.after}"' if method != "in2n" else f'"{pair.instruction}"'
    return f"{made}\ndistill3d edit outputs/before {told} --method {method}{region}"


def verdict(row: pairs.Row) -> str:
    """What the judge says, in words, and what was kept."""
    said = "told right" if row.right else f"told as {pairs.told(row)}"
    outline = f"outline kept {row.found['silhouette_iou_to_source']:.2f}"
    beside = "" if row.beside is None else f", PSNR to the source beside the region {row.beside:.0f} dB"
    if row.beside is not None and not row.found["largest_change_beside_region"]:
        beside = ", nothing changed beside the region"
    return f"{said}, {outline}{beside}"


def shown(pair: Pair, method: str, renderer: str, options: argparse.Namespace, references: References) -> str:
    """One pair as Markdown; it is made first, where it is not there."""
    problem = pairs.make_source(pair, renderer, options) or pairs.edit(pair, renderer, method, options)
    if problem:
        raise SystemExit(f"{pair.name}: {problem}")
    folder = pairs.edited_into(pair, renderer, method, options.out)
    picture = PICTURES / f"{renderer}-{method}-{pair.name}.jpg"
    Image.open(folder / "findings" / "before_after.png").convert("RGB").save(picture, quality=88, optimize=True)
    row = pairs.judged(pair, renderer, method, "", options.out, references)
    title = f"## {pair.before[0].upper()}{pair.before[1:]} becomes {pair.after}"
    return (
        f"{title}\n\n![before above after](pictures/edit-gallery/{picture.name})\n\n"
        f"```bash\n{commands(pair, method, renderer)}\n```\n\n{verdict(row)}\n"
    )


def main() -> None:
    runs = Path(sys.argv[1] if len(sys.argv) > 1 else "outputs/editing")
    small = ["export.formats=[glb]", "export.resolution=96", "export.faces=10000", "export.texture_size=256"]
    options = argparse.Namespace(out=runs, threads=1, set=[*small, "preview_every=0"])
    PICTURES.mkdir(exist_ok=True)
    references = build_references(cache=runs / "references.npz")
    by_name = {(pair.before, pair.after): pair for pair in PAIRS}
    parts = [INTRODUCTION]
    for before, after, method, renderer in SHOWN:
        parts.append(shown(by_name[before, after], method, renderer, options, references))
    PAGE.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
