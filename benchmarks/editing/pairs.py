"""Edits of toybox scenes: is the result told as what was asked for, and how far is it from what it was?

Each pair is a scene made by the dreamfusion config from its first sentence, then edited into its second by each method,
in processes of their own. The asset of an edit is judged by `distill3d.toybox.verdict`, in space against the toybox's
ground truth; what it kept is its PSNR to the source over four views, and where a pair has a region, over the pixels
whose rays miss it. The judge knows shape and main colour; edits of the material are no pairs here, since it would
tell an unchanged scene right. Finished runs in the folder are kept and judged again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from figures import CannotRun, Figure, main
from text_to_3d import RUN, folder_of

from distill3d.core.errors import UserError
from distill3d.toybox.captions import article
from distill3d.toybox.references import References, build_references
from distill3d.toybox.verdict import Verdict, asked, judge

METHODS = ("sds", "dds", "pds", "in2n", "sdedit", "controlnet")
GOAL = 20 / 24  # of the pairs, told right with PDS
KEPT = 28.0  # dB, beside the region
LONGEST = 120.0  # seconds of an edit


@dataclass(frozen=True)
class Pair:
    """What a scene is, what it should become, of which kind the edit is, and the region it is held to."""

    kind: str
    before: str
    after: str
    region: str | None = None


PAIRS = (
    Pair("colour", "a red cube", "a blue cube"),
    Pair("colour", "a blue car", "a yellow car"),
    Pair("colour of a part", "a red mushroom", "a blue mushroom", "box:-1,-1,0,1,1,1"),  # the cap
    Pair("colour of a part", "a red house", "a blue house", "box:-1,-1,-1,1,1,0"),  # the walls
    Pair("shape", "a blue sphere", "a blue cube"),
    Pair("shape", "a yellow cone", "a yellow pyramid"),
)
QUICK = PAIRS[2:3]


@dataclass(frozen=True)
class Row:
    """One edit: no verdict where there is no asset, and then why. PSNR in dB."""

    pair: Pair
    method: str
    verdict: Verdict | None
    psnr: float | None
    beside: float | None
    seconds: float | None
    problem: str = ""

    @property
    def right(self) -> bool:
        return self.verdict is not None and self.verdict.shape_right and self.verdict.color_right


def finish(folder: Path, words: list[str]) -> str:
    """Runs a verb of distill3d into `folder`, if that has no report yet. Returns what went wrong, in one line."""
    if (folder / "report.html").is_file():
        return ""
    start = time.perf_counter()
    command = [sys.executable, "-c", RUN, *words, "--quiet", "--out", str(folder)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    (folder / "seconds.txt").write_text(f"{time.perf_counter() - start:.1f}\n")
    return ""


def instruction(pair: Pair) -> str:
    """What is asked for, as one instruction."""
    item = asked(pair.after)
    return f"turn it into {article(item.category)} {item.category}" if pair.kind == "shape" else f"make it {item.color}"


def edited(pair: Pair, method: str, options: argparse.Namespace, references: References) -> Row:
    source = folder_of(pair.before, options.out / "sources")
    folder = options.out / method / f"{pair.before} to {pair.after}".replace(" ", "-")
    bare = ["export.formats=[]", "export.turntable_frames=0"]
    problem = finish(source, ["run", "dreamfusion", f"prompt={pair.before}", *bare])
    if not problem:
        region = [] if pair.region is None else ["--region", pair.region]
        told = [instruction(pair)] if method == "in2n" else [pair.before, pair.after]
        words = ["edit", str(source), *told, "--method", method, *region, *options.set]
        problem = finish(folder, [*words, "export.turntable_frames=0"])
    if problem:
        return Row(pair, method, None, None, None, None, problem)
    found = json.loads((folder / "findings.json").read_text())
    took = folder / "seconds.txt"
    seconds = float(took.read_text()) if took.is_file() else None
    numbers = found["psnr_to_source"], found.get("psnr_to_source_beside_region"), seconds
    try:
        return Row(pair, method, judge(folder / "asset.glb", pair.after, references), *numbers)
    except UserError as reason:
        return Row(pair, method, None, *numbers, str(reason))


def line(row: Row) -> str:
    what = f"{row.pair.before} -> {row.pair.after}"
    numbers = ("-" if value is None else f"{value:.1f}" for value in (row.psnr, row.beside, row.seconds))
    told = row.problem if row.verdict is None else f"{row.verdict.hue} {row.verdict.shape}"
    mark = "right" if row.right else "wrong"
    return f"{what:<38} {row.method:<10} {mark:<6}" + "".join(f"{number:>9}" for number in numbers) + f"  {told}"


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    pairs = [pair for pair in (QUICK if options.quick else PAIRS) if options.only in pair.before]
    methods = options.methods.split(",")
    if not pairs or not set(methods) <= set(METHODS):
        raise CannotRun(f"no pair starts from {options.only!r}, or a method is none of {', '.join(METHODS)}")
    references = build_references(cache=options.out / "references.npz")
    print(f"{'edit':<38} {'method':<10} {'told':<6} PSNR, dB   beside  seconds  as")
    rows = []
    for pair in pairs:
        for method in methods:
            rows.append(edited(pair, method, options, references))
            print(line(rows[-1]), flush=True)
    options.raw["rows"] = [asdict(row) for row in rows]
    return figures(rows)


def figures(rows: list[Row]) -> list[Figure]:
    found = []
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method]
        found.append(Figure(f"edit_{method}_right", sum(r.right for r in own), GOAL * len(own), out_of=len(own)))
    beside = [row.beside for row in rows if row.beside is not None]
    if beside:
        found.append(Figure("edit_psnr_beside_region", min(beside), KEPT, "dB"))
    seconds = [row.seconds for row in rows if row.seconds is not None]
    found.append(Figure("edit_seconds", max(seconds) if seconds else None, LONGEST, "s", at_most=True))
    return found


if __name__ == "__main__":
    main(
        __doc__,
        measure,
        only={"default": "", "metavar": "SUBSTRING", "help": "only the pairs whose first sentence holds this"},
        methods={
            "default": ",".join(METHODS),
            "metavar": "LIST",
            "help": f"of {', '.join(METHODS)}, with commas between",
        },
        out={"type": Path, "default": Path("outputs/editing"), "metavar": "FOLDER", "help": "where the runs go"},
        set={"nargs": "*", "default": [], "metavar": "KEY=VALUE", "help": "overrides of the methods' configs"},
    )
