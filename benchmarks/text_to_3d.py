"""From sentence to asset: are 24 prompts' assets what was asked for, judged in space against the toybox's ground truth?

Each prompt is a run of the dreamfusion config in a process of its own; its `asset.glb` (not its pictures) is judged by
`distill3d.toybox.verdict`: shape by the nearest category, colour by the nearest named colour, the front by whether it
is there once. No network takes part in the judging. The 24 prompts: 8 of pairs that training never sees, 16 of others;
17 of them depend on the azimuth. Finished runs in the folder are kept and judged again unless `--again` is given.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path

from figures import CannotRun, Figure, main
from sheets import Line, write_sheet

from distill3d.core.errors import UserError
from distill3d.toybox.captions import Item
from distill3d.toybox.categories import CATEGORIES
from distill3d.toybox.heldout import held_out
from distill3d.toybox.references import References, build_references
from distill3d.toybox.verdict import Verdict, asked, judge

HELD_OUT = (
    "a blue chair",
    "a cyan mug",
    "an orange car",
    "a cyan house",
    "a gray cube",
    "a pink mushroom",
    "a purple snowman",
    "a green teapot",
)
SEEN = (
    "a red mushroom",
    "a red cube",
    "a brown chair",
    "a white mug",
    "a blue car",
    "a red house",
    "a red truck",
    "a blue boat",
    "a yellow duck",
    "a green sofa",
    "a blue table",
    "a red airplane",
    "a blue sphere",
    "a yellow cone",
    "a green pine tree",
    "a green cactus",
)
QUICK = ("a red mushroom", "a blue chair", "a cyan mug")
GOAL = 22 / 24
RUN = "import sys; from distill3d.cli import main; sys.exit(main())"


@dataclass(frozen=True)
class Row:
    """One prompt's asset: no verdict where there is none, and then why."""

    prompt: str
    held_out: bool
    verdict: Verdict | None
    seconds: float | None
    problem: str = ""

    @property
    def shape_right(self) -> bool:
        return self.verdict is not None and self.verdict.shape_right

    @property
    def color_right(self) -> bool:
        return self.verdict is not None and self.verdict.color_right

    @property
    def front_once(self) -> bool:
        return self.verdict is not None and bool(self.verdict.front_once)


def folder_of(prompt: str, out: Path) -> Path:
    return out / prompt.replace(" ", "-")


def make(config: str, told: Sequence[str], folder: Path) -> str:
    """Runs a config with `told`, in a process of its own, with the time it took in `seconds.txt`. Returns what went
    wrong, in one line."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", RUN, "run", config, *told, "--quiet", "--out", str(folder)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    if done.returncode == 0:
        (folder / "seconds.txt").write_text(f"{time.perf_counter() - start:.1f}\n")
        return ""
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def seconds_of(folder: Path) -> float | None:
    """What `make` measured there."""
    took = folder / "seconds.txt"
    return float(took.read_text()) if took.is_file() else None


def judged(prompt: str, folder: Path, references: References, problem: str) -> Row:
    item = asked(prompt)
    novel = (item.color, item.category) in held_out()
    if problem:
        return Row(prompt, novel, None, None, problem)
    seconds = seconds_of(folder)
    try:
        return Row(prompt, novel, judge(folder / "asset.glb", prompt, references), seconds)
    except UserError as reason:
        return Row(prompt, novel, None, seconds, str(reason))


def line(row: Row) -> str:
    start = f"{row.prompt:<20} {'yes' if row.held_out else 'no':<8} "
    if row.verdict is None:
        return start + f"no asset: {row.problem}"
    v = row.verdict
    shape = "right" if v.shape_right else f"no: {v.shape}"
    color = "right" if v.color_right else f"no: {v.hue}"
    yaw = "" if v.yaw_error is None else f"{v.yaw_error:.0f}"
    once = "" if v.front_contrast is None else f"{'yes' if v.front_once else 'no'} ({v.front_contrast:.2f})"
    seconds = "" if row.seconds is None else f"{row.seconds:.0f}"
    return start + f"{shape:<16} {color:<12} {v.iou:>5.2f} {v.chamfer:>8.3f} {yaw:>5} {once:>11} {seconds:>8}"


def lines_of(rows: Sequence[Row], folders: Sequence[Path]) -> list[Line]:
    """What a sheet shows of every run."""
    lines = []
    for row, folder in zip(rows, folders, strict=True):
        told = "no asset" if row.verdict is None else f"told {row.verdict.hue} {row.verdict.shape}"
        text = f"{row.prompt}{' *' if row.held_out else ''}\n{told}"
        lines.append(Line(folder / "views.png", text, row.shape_right and row.color_right))
    return lines


def chosen(options: argparse.Namespace) -> list[str]:
    prompts = list(QUICK) if options.quick else [*HELD_OUT, *SEEN]
    if options.only:
        prompts = [prompt for prompt in [*HELD_OUT, *SEEN] if options.only in prompt]
    if not prompts:
        raise CannotRun(f"no prompt holds {options.only!r}")
    return prompts


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    out = options.assets or options.out
    references = build_references(cache=options.out / "references.npz")
    print(f"{'prompt':<20} held-out shape            colour         IoU  Chamfer   yaw  front once  seconds")
    rows, folders = [], []
    for prompt in chosen(options):
        folder = folder_of(prompt, out)
        problem = ""
        if options.assets is None and (options.again or not (folder / "asset.glb").is_file()):
            folder = fresh(folder)
            problem = make("dreamfusion", [f"prompt={prompt}", *options.set], folder)
        rows.append(judged(prompt, folder, references, problem))
        folders.append(folder)
        print(line(rows[-1]), flush=True)
    if options.sheet:
        write_sheet(options.sheet, lines_of(rows, folders), label=150)
    options.raw["rows"] = [asdict(row) for row in rows]
    return figures(rows)


def fresh(folder: Path) -> Path:
    """Moves an earlier run out of the way, under a number, for a run folder is never overwritten."""
    if folder.exists():
        free = next(i for i in range(1, 10_000) if not folder.with_name(f"{folder.name}.{i}").exists())
        folder.rename(folder.with_name(f"{folder.name}.{free}"))
    return folder


def figures(rows: Sequence[Row]) -> list[Figure]:
    faces = [row for row in rows if CATEGORIES[category(row)].asymmetric]
    found = [
        count("text_to_3d_shape_right", [row.shape_right for row in rows]),
        count("text_to_3d_color_right", [row.color_right for row in rows]),
        count("text_to_3d_right", [row.shape_right and row.color_right for row in rows]),
    ]
    return found + ([count("text_to_3d_front_once", [row.front_once for row in faces])] if faces else [])


def count(name: str, right: Sequence[bool]) -> Figure:
    return Figure(name, sum(right), goal=ceil(GOAL * len(right)), out_of=len(right))


def category(row: Row) -> str:
    item: Item = asked(row.prompt)
    return item.category


if __name__ == "__main__":
    main(
        __doc__,
        measure,
        only={"default": "", "metavar": "SUBSTRING", "help": "only the prompts that hold this"},
        assets={"type": Path, "default": None, "metavar": "FOLDER", "help": "judge the runs in it, run nothing"},
        out={"type": Path, "default": Path("outputs/text_to_3d"), "metavar": "FOLDER", "help": "where the runs go"},
        again={"action": "store_true", "help": "run also what has an asset already"},
        set={"nargs": "*", "default": [], "metavar": "KEY=VALUE", "help": "overrides of the config"},
        sheet={"type": Path, "default": None, "metavar": "FILE.png", "help": "write all runs' views here"},
    )
