"""Edits of toybox scenes: is the result told as what was asked for, and how far is it from what it was?

Each pair of `scenes.py` is a scene made from its first sentence (a NeRF by the dreamfusion config, splats by
dreamgaussian), then edited into its second by each method, in processes of their own. The asset of an edit is judged by
`distill3d.toybox.verdict`, in space against the toybox's ground truth: shape, main colour, and where the edit is one of
material the material too. What it kept is its PSNR to the source over four views (where a pair has a region, over the
pixels whose rays miss it) and how far the silhouettes overlap. Finished runs in the folder are kept and judged again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from figures import CannotRun, Figure, main
from scenes import KINDS, PAIRS, Pair
from sheets import Line, write_sheet
from text_to_3d import RUN, folder_of, seconds_of

from distill3d.core.errors import UserError
from distill3d.toybox.references import References, build_references
from distill3d.toybox.verdict import Verdict, judge

METHODS = ("sds", "dds", "pds", "in2n", "sdedit", "controlnet")
MAKERS = {"nerf": "dreamfusion", "gaussians": "dreamgaussian"}  # which config makes a scene of which renderer
BARE = ("export.formats=[]", "export.turntable_frames=0")
GOAL = 20 / 24  # of the pairs, told right with PDS
KEPT = 28.0  # dB, beside the region
LONGEST = 120.0  # seconds of an edit
QUICK = PAIRS[6:7]


@dataclass(frozen=True)
class Row:
    """One edit: no verdict where there is no asset, and then why. `found`: what the run says of itself."""

    pair: Pair
    renderer: str
    method: str
    verdict: Verdict | None
    found: dict[str, float] = field(default_factory=dict)
    seconds: float | None = None
    problem: str = ""

    @property
    def right(self) -> bool:
        told = self.verdict
        if told is None or not (told.shape_right and told.color_right):
            return False
        return self.pair.kind != "material" or told.material_right

    @property
    def beside(self) -> float | None:
        """PSNR to the source where rays miss the region, dB."""
        return self.found.get("psnr_to_source_beside_region")


def finish(folder: Path, words: Sequence[str]) -> str:
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


def make_source(pair: Pair, renderer: str, options: argparse.Namespace) -> str:
    words = ["run", MAKERS[renderer], f"prompt={pair.before}", *BARE, f"threads={options.threads}"]
    return finish(source_of(pair, renderer, options.out), words)


def source_of(pair: Pair, renderer: str, out: Path) -> Path:
    return folder_of(pair.before, out / renderer / "sources")


def edited_into(pair: Pair, renderer: str, method: str, out: Path) -> Path:
    return out / renderer / method / pair.name


def edit(pair: Pair, renderer: str, method: str, options: argparse.Namespace) -> str:
    told = [pair.instruction] if method == "in2n" else [pair.before, pair.after]
    region = [] if pair.region is None else ["--region", pair.region]
    words = ["edit", str(source_of(pair, renderer, options.out)), *told, "--method", method, *region, *options.set]
    words += ["export.turntable_frames=0", f"threads={options.threads}"]
    return finish(edited_into(pair, renderer, method, options.out), words)


def judged(pair: Pair, renderer: str, method: str, problem: str, out: Path, references: References) -> Row:
    folder = edited_into(pair, renderer, method, out)
    if problem:
        return Row(pair, renderer, method, None, problem=problem)
    found, seconds = json.loads((folder / "findings.json").read_text()), seconds_of(folder)
    try:
        return Row(pair, renderer, method, judge(folder / "asset.glb", pair.after, references), found, seconds)
    except UserError as reason:
        return Row(pair, renderer, method, None, found, seconds, str(reason))


def told(row: Row) -> str:
    if row.verdict is None:
        return row.problem
    material = f" {row.verdict.material}" if row.pair.kind == "material" else ""
    return f"{row.verdict.hue}{material} {row.verdict.shape}"


def line(row: Row) -> str:
    what = f"{row.pair.before} -> {row.pair.after}"
    numbers = row.found.get("psnr_to_source"), row.beside, row.found.get("silhouette_iou_to_source"), row.seconds
    shown = "".join(f"{'-' if n is None else f'{n:.{p}f}':>9}" for n, p in zip(numbers, (1, 1, 2, 0), strict=True))
    return f"{what:<40} {row.renderer:<10} {row.method:<10} {'right' if row.right else 'wrong':<6}{shown}  {told(row)}"


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    pairs = [pair for pair in (QUICK if options.quick else PAIRS) if options.only in f"{pair.kind}: {pair.before}"]
    methods, renderers = options.methods.split(","), options.renderers.split(",")
    if not pairs or not set(methods) <= set(METHODS) or not set(renderers) <= set(MAKERS):
        raise CannotRun(
            f"no pair has {options.only!r}, or a method is none of {', '.join(METHODS)}, "
            f"or a renderer none of {', '.join(MAKERS)}"
        )
    options.threads = options.threads or max(1, (os.cpu_count() or 1) // options.at_once)
    references = build_references(cache=options.out / "references.npz")
    jobs = [(pair, renderer, method) for renderer in renderers for pair in pairs for method in methods]
    print(f"{'edit':<40} {'of':<10} {'method':<10} {'told':<6} PSNR, dB   beside  outline  seconds  as")
    rows = []
    with ThreadPoolExecutor(options.at_once) as pool:
        begun = {(pair.before, renderer): pair for pair, renderer, _ in jobs}  # pairs share sources
        made = {key: pool.submit(make_source, pair, key[1], options) for key, pair in begun.items()}
        sources = {key: future.result() for key, future in made.items()}
        edits = [pool.submit(lambda job: sources[job[0].before, job[1]] or edit(*job, options), job) for job in jobs]
        for job, future in zip(jobs, edits, strict=True):
            rows.append(judged(*job, future.result(), options.out, references))
            print(line(rows[-1]), flush=True)
    print(table(rows))
    if options.sheet:
        write_sheet(options.sheet, [sheet_line(row, options.out) for row in rows])
    options.raw["rows"] = [asdict(row) for row in rows]
    return figures(rows)


def sheet_line(row: Row, out: Path) -> Line:
    folder = edited_into(row.pair, row.renderer, row.method, out)
    text = f"{row.pair.before} ->\n{row.pair.after}\n{row.method}, {row.renderer}\ntold {told(row)}"
    return Line(folder / "findings" / "before_after.png", text, row.right)


def table(rows: Sequence[Row]) -> str:
    """What each method's edits of each renderer come to: told right by kind, and means over all with an asset."""
    head = f"{'of':<10} {'method':<10}" + "".join(f"{kind:>18}" for kind in KINDS)
    lines = ["", head + f"{'right':>8}{'PSNR':>7}{'outline':>9}{'direction':>11}"]
    for renderer, method in dict.fromkeys((row.renderer, row.method) for row in rows):
        own = [row for row in rows if (row.renderer, row.method) == (renderer, method)]
        counts = [[row.right for row in own if row.pair.kind == kind] for kind in KINDS]
        shown = "".join(f"{f'{sum(c)} of {len(c)}' if c else '-':>18}" for c in counts)
        keys = ("psnr_to_source", "silhouette_iou_to_source", "directional_similarity")
        means = (fmean(values) if (values := [row.found[k] for row in own if k in row.found]) else None for k in keys)
        kept = "".join(
            f"{'-' if mean is None else f'{mean:.{p}f}':>{w}}"
            for mean, p, w in zip(means, (1, 2, 2), (7, 9, 11), strict=True)
        )
        lines.append(f"{renderer:<10} {method:<10}{shown}{sum(row.right for row in own):>8}{kept}")
    return "\n".join(lines)


def figures(rows: Sequence[Row]) -> list[Figure]:
    found = []
    for renderer, method in dict.fromkeys((row.renderer, row.method) for row in rows):
        own = [row.right for row in rows if (row.renderer, row.method) == (renderer, method)]
        found.append(Figure(f"edit_{renderer}_{method}_right", sum(own), GOAL * len(own), out_of=len(own)))
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
        only={"default": "", "metavar": "SUBSTRING", "help": "only pairs whose 'KIND: FIRST SENTENCE' holds this"},
        methods={"default": "sds,dds,pds,in2n", "metavar": "LIST", "help": f"of {', '.join(METHODS)}, with commas"},
        renderers={"default": ",".join(MAKERS), "metavar": "LIST", "help": "of the scenes, with commas between"},
        out={"type": Path, "default": Path("outputs/editing"), "metavar": "FOLDER", "help": "where the runs go"},
        at_once={"type": int, "default": 1, "metavar": "N", "help": "runs side by side; they share the cores"},
        threads={"type": int, "default": 0, "metavar": "N", "help": "of each run; left out, its share of the cores"},
        set={"nargs": "*", "default": [], "metavar": "KEY=VALUE", "help": "overrides of the methods' configs"},
        sheet={"type": Path, "default": None, "metavar": "FILE.png", "help": "write all edits' views here"},
    )
