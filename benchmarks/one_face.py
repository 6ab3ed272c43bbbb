"""Does an object have its front once, and what of the guidance sees to it?

Twelve prompts whose objects have a front that is a large part of them, each distilled in four ways:

- camera: the prior is told where the camera stands (dreamfusion.yaml);
- views: four views of a step see each other besides (mvdream.yaml);
- words: the prior has no camera (prior.kind=text_only); ", front view" and the like are appended to the prompt, as
  DreamFusion does;
- perp_neg: the same, blended by azimuth, and turned away from the views that are not the camera's own (Perp-Neg).

Judged is the asset, in space, by `distill3d.toybox.verdict`: the truths' front is found where it belongs, and better
than when the asset is turned elsewhere. Whether the kind is told right besides is printed, and asked by text_to_3d.py.
Finished runs in the folder are kept and judged again unless `--again` is given.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from figures import Figure, main
from sheets import Line, write_sheet
from text_to_3d import Row, folder_of, fresh, judged, make

from distill3d.toybox.references import build_references

PROMPTS = (
    "a red chair",
    "a blue armchair",
    "a green sofa",
    "a white mug",
    "a green teapot",
    "a yellow duck",
    "a brown dog",
    "a gray cat",
    "an orange fish",
    "a blue car",
    "a red truck",
    "a red airplane",
)
ALONE = ("prior.kind=text_only",)
WAYS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "camera": ("dreamfusion", ()),
    "views": ("mvdream", ()),
    "words": ("dreamfusion", (*ALONE, "guidance.0.view_prompts=true")),
    "perp_neg": ("dreamfusion", (*ALONE, "guidance.0.view_prompts=perp_neg")),
}
GOAL = 11  # of the twelve, where the prior knows the camera


def told(row: Row) -> str:
    """ "yes" or "no" with the contrast of the front, and what the asset was taken for where that is wrong."""
    if row.verdict is None:
        return "no asset"
    other = "" if row.shape_right else f" {row.verdict.shape}"
    return f"{'yes' if row.front_once else 'no'} {row.verdict.front_contrast or 0:.2f}{other}"


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    references = build_references(cache=options.out / "references.npz")
    ways = [name for name in WAYS if options.only in ("", name)]
    rows: dict[str, list[Row]] = {name: [] for name in ways}
    lines: list[Line] = []
    print(f"{'':<18}" + "".join(f"{name:<18}" for name in ways))
    for prompt in PROMPTS[: 1 if options.quick else None]:
        for name in ways:
            config, overrides = WAYS[name]
            folder, problem = folder_of(prompt, options.out / name), ""
            if options.again or not (folder / "asset.glb").is_file():
                folder = fresh(folder)
                problem = make(config, [f"prompt={prompt}", *overrides, *options.set], folder)
            row = judged(prompt, folder, references, problem)
            rows[name].append(row)
            lines.append(Line(folder / "views.png", f"{prompt}\n{name}\n{told(row)}", row.front_once))
        print(f"{prompt:<18}" + "".join(f"{told(rows[name][-1]):<18}" for name in ways), flush=True)
    print(f"{'fronts once':<18}" + "".join(f"{sum(row.front_once for row in rows[name]):<18}" for name in ways))
    if options.sheet:
        write_sheet(options.sheet, lines, label=110)
    options.raw["rows"] = {name: [asdict(row) for row in found] for name, found in rows.items()}
    return figures(rows)


def figures(rows: Mapping[str, Sequence[Row]]) -> list[Figure]:
    """Fronts that are there once, where the prior knows the camera; what knowing it, and Perp-Neg, gain in fronts."""
    right = {name: sum(row.front_once for row in found) for name, found in rows.items()}
    found = [
        Figure(f"one_face_{name}", right[name], goal=min(GOAL, len(rows[name])), out_of=len(rows[name]))
        for name in ("camera", "views")
        if name in rows
    ]
    for name, more, less in (("the_camera", "camera", "words"), ("perp_neg", "perp_neg", "words")):
        if more in rows and less in rows:
            found.append(Figure(f"one_face_gained_by_{name}", right[more] - right[less], goal=1))
    return found


if __name__ == "__main__":
    main(
        __doc__,
        measure,
        only={"default": "", "choices": ("", *WAYS), "help": "only this way"},
        out={"type": Path, "default": Path("outputs/one_face"), "metavar": "FOLDER", "help": "of the runs"},
        again={"action": "store_true", "help": "run what is there once more"},
        set={"nargs": "*", "default": [], "metavar": "KEY=VALUE", "help": "overrides of every config"},
        sheet={"type": Path, "default": None, "metavar": "FILE.png", "help": "write all runs' views here"},
    )
