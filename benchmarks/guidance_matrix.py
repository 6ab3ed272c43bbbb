"""Every guidance with every renderer: is the asset what was asked for, how long does it take, how much memory?

A cell of the table is a guidance with a renderer; each of its six prompts is a run in a fresh process, whose asset is
judged by `distill3d.toybox.verdict`: shape and main colour, in space, against the toybox's ground truth. Guidances are
as their configs have them (`configs/`), but for fewer steps (`STEPS`) and ramps that are as much shorter. With
`--keep FOLDER` what is done stays done: a second call makes only what is missing, or what another config would now
make. A guidance that a renderer cannot take is a dash, and a line that says why.

Printed: right / judged in every cell, then its mean seconds and its largest peak of memory (resident, of the whole
process). Seconds are of one thread, whatever the machine does beside it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from figures import CannotRun, Figure, main
from memory import peak_resident
from sheets import Line, write_sheet
from text_to_3d import RUN, fresh

from distill3d.core.errors import UserError
from distill3d.toybox.references import References, build_references
from distill3d.toybox.verdict import judge

PROMPTS = (
    "a red mushroom",
    "a blue chair",
    "a yellow duck",
    "a green cactus",
    "a white mug",
    "a brown table",
)
GOAL = 5 / 6  # of the prompts, in every cell of MUST with NeRF and with splats
MUST = ("sds", "csd", "ism", "vsd", "mvdream")
VOLUMES = ("nerf", "gaussians")

NERF = {
    "kind": "nerf",
    "step": 0.032,
    "grid": {"levels": 8, "base": 8, "finest": 80},
    "lr_grid": 0.02,
    "blob": {"kind": "magic3d", "strength": 5, "radius": 0.5},
    "occupancy": {"threshold": 0.02, "refresh_every": 8},
}
SPLATS = {
    "kind": "gaussians",
    "start": {"count": 4000, "radius": 0.6, "opacity": 0.1},
    "lr_means": {0: 0.01, 100: 0.002},
    "lr_scales": 0.02,
    "lr_opacity": 0.05,
    "lr_color": 0.03,
    "lr_quats": 0.01,
}
TETRAHEDRA = {"kind": "tetrahedra", "resolution": 40, "grid": {"levels": 8, "base": 8, "finest": 80}, "lr_grid": 0.02}
MESH = {"kind": "mesh", "subdivisions": 4, "lr_vertices": 0.01}
RENDERERS: dict[str, dict[str, Any]] = {"nerf": NERF, "gaussians": SPLATS, "tetrahedra": TETRAHEDRA, "mesh": MESH}
STEPS = {"nerf": 120, "gaussians": 100, "tetrahedra": 80, "mesh": 80}  # the configs have 200 and 150
SMOOTH = {
    "laplacian": 1,
    "normal_consistency": 0.1,
}  # of surfaces; a fifth of magic3d.yaml's, which begins with a shape

PLAIN = {"kind": "diffusion", "model": "toybox"}
BARE = {"weighting": "clean", "timesteps": {0: [0.5, 0.98], 80: [0.1, 0.6]}}
SDS = {**BARE, "kind": "sds", "cfg_scale": {0: 5, 60: 1}}


@dataclass(frozen=True)
class Row:
    """A guidance, and whatever else of a config belongs to it."""

    guidance: Mapping[str, Any]
    prior: Mapping[str, Any]
    system: str = "text_to_3d"
    together: int = 1


ROWS: dict[str, Row] = {
    "sds": Row(SDS, PLAIN),
    "csd": Row({**BARE, "kind": "csd", "text": {0: 5, 60: 1}, "generative": 0}, PLAIN),
    "ism": Row({**SDS, "kind": "ism", "interval": {0: 0.1, 80: 0.08}, "inversion_steps": 2}, PLAIN),
    "vsd": Row({**SDS, "kind": "vsd", "lr": 0.005, "adapt": "all"}, PLAIN),
    "mvdream": Row(SDS, {"kind": "multi_view", "model": "toybox", "views": 4}, together=4),
    "dreamfields": Row({"kind": "clip", "cuts": 8, "opacity": [0.6, 0.25], "opacity_steps": 60}, PLAIN),
    "controlnet3d": Row(
        {**SDS, "control": [{"hint": "depth", "weight": {0: 0, 40: 0, 70: 1}}]},
        {**PLAIN, "control": [{"model": "toybox-depth"}]},
        system="controlled",
    ),
    "dreamtime": Row({**SDS, "dreamtime": "v1"}, PLAIN),
}
UNSUITED: dict[tuple[str, str], str] = {}  # (guidance, renderer): why not


@dataclass(frozen=True)
class Run:
    """One prompt in one cell. `told` is what the judge calls the asset; `problem`, why there is none."""

    guidance: str
    renderer: str
    prompt: str
    right: bool = False
    told: str = ""
    iou: float | None = None
    seconds: float | None = None
    peak_mib: float | None = None
    problem: str = ""


def config_of(guidance: str, renderer: str) -> dict[str, Any]:
    """The whole config of a cell, but for the prompt."""
    row, steps = ROWS[guidance], STEPS[renderer]
    section = dict(row.guidance)
    if "dreamtime" in section:
        section["dreamtime_steps"] = steps
    return {
        "system": row.system,
        "prompt": "???",
        "prior": dict(row.prior),
        "renderer": RENDERERS[renderer],
        "guidance": [section],
        "cameras": {
            "views": 4, "together": row.together, "elevation": [-20, 60], "fov": [38, 52], "reach": [1.05, 1.3],
        },
        "light": {"albedo_until": 30, "shaded": 0.5},
        "losses": {} if renderer in VOLUMES else SMOOTH,
        "steps": steps,
        "threads": 1,
        "preview_every": 0,
        "checkpoint_every": steps,
        "export": {"resolution": 96, "texture_size": 512, "formats": ["glb"], "turntable_frames": 8},
    }  # fmt: skip


def made(guidance: str, renderer: str, prompt: str, folder: Path, references: References) -> Run:
    """Runs and judges one prompt of one cell, or takes what an earlier call has left for the same config."""
    text = yaml.safe_dump(config_of(guidance, renderer), sort_keys=False)
    note, config = folder.with_suffix(".json"), folder.with_suffix(".yaml")
    if note.is_file():
        kept = json.loads(note.read_text())
        if kept["config"] == text:
            return Run(**kept["run"])
    folder.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(text)
    seconds, peak, problem = run_alone(config, prompt, fresh(folder))
    found = Run(guidance, renderer, prompt, seconds=seconds, peak_mib=peak, problem=problem)
    if not problem:
        found = judged(found, folder, references)
    note.write_text(json.dumps({"config": text, "run": asdict(found)}, indent=1) + "\n")
    return found


def run_alone(config: Path, prompt: str, folder: Path) -> tuple[float, float, str]:
    """A run in a process of its own: seconds, its largest resident memory in MiB, and what went wrong, in one line."""
    command = [sys.executable, "-c", RUN, "run", str(config), f"prompt={prompt}", "--quiet", "--out", str(folder)]
    start = time.perf_counter()
    with folder.with_suffix(".log").open("w+") as log:
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        peak = 0
        try:
            while child.poll() is None:  # it only grows, and ends with the process: the last look is as good as all
                peak = max(peak, peak_resident(child.pid))
                time.sleep(0.1)
        except BaseException:
            child.kill()
            raise
        log.seek(0)
        lines = log.read().strip().splitlines()
    problem = "" if child.returncode == 0 else (lines or [f"exit code {child.returncode}"])[-1]
    return time.perf_counter() - start, peak / (1 << 20), problem


def judged(run: Run, folder: Path, references: References) -> Run:
    try:
        v = judge(folder / "asset.glb", run.prompt, references)
    except UserError as reason:
        return Run(**asdict(run) | {"problem": str(reason)})
    told = f"{v.hue} {v.shape}"
    return Run(**asdict(run) | {"right": v.shape_right and v.color_right, "told": told, "iou": v.iou})


def line(run: Run) -> str:
    start = f"{run.guidance:<13} {run.renderer:<11} {run.prompt:<16}"
    if run.problem:
        return f"{start} no asset: {run.problem}"
    said = "right" if run.right else f"no: {run.told}"
    return f"{start} {said:<22} IoU {run.iou:.2f}  {run.seconds:5.0f} s  {run.peak_mib:5.0f} MiB"


def table(runs: Sequence[Run], guidances: Sequence[str], renderers: Sequence[str]) -> str:
    """A line a guidance, a column a renderer."""
    lines = [f"{'':<13}" + "".join(f"{name:<24}" for name in renderers)]
    for guidance in guidances:
        cells = []
        for renderer in renderers:
            here = [run for run in runs if (run.guidance, run.renderer) == (guidance, renderer)]
            cells.append(f"{cell(here) if here else '-':<24}")
        lines.append(f"{guidance:<13}" + "".join(cells).rstrip())
    return "\n".join(lines)


def cell(runs: Sequence[Run]) -> str:
    ends = [run for run in runs if not run.problem]
    right = f"{sum(run.right for run in runs)}/{len(runs)}"
    if not ends:
        return f"{right} no asset"
    seconds = sum(run.seconds or 0 for run in ends) / len(ends)
    return f"{right} {seconds:4.0f} s {max(run.peak_mib or 0 for run in ends):5.0f} MiB"


def lines_of(runs: Sequence[Run], out: Path) -> list[Line]:
    """What a sheet shows of every asset."""
    return [
        Line(
            folder_of(run.guidance, run.renderer, run.prompt, out) / "views.png",
            f"{run.guidance}\n{run.renderer}\n{run.prompt}\n{run.told or 'no asset'}",
            run.right,
        )
        for run in runs
    ]


def folder_of(guidance: str, renderer: str, prompt: str, out: Path) -> Path:
    return out / f"{guidance}-{renderer}" / prompt.replace(" ", "-")


def chosen(options: argparse.Namespace) -> tuple[list[str], list[str], list[str]]:
    """Guidances, renderers and prompts that are asked for; `--only` is GUIDANCE,RENDERER, either of them empty."""
    prompts = [prompt for prompt in PROMPTS if options.prompt in prompt]
    if options.quick:
        prompts = prompts[:1]
    guidance, _, renderer = options.only.partition(",")
    guidances = [name for name in ROWS if guidance in ("", name)]
    renderers = [name for name in RENDERERS if renderer in ("", name)]
    if options.quick and not options.only:
        guidances, renderers = ["sds", "vsd"], ["gaussians"]
    if not (guidances and renderers and prompts):
        raise CannotRun(
            f"--only is GUIDANCE,RENDERER of {', '.join(ROWS)} and {', '.join(RENDERERS)}; --prompt is part of one of "
            f"{'; '.join(PROMPTS)}"
        )
    return guidances, renderers, prompts


def figures(runs: Sequence[Run]) -> list[Figure]:
    """Whether every run ends in an asset, and the least of the cells that have to be right, among those with runs."""
    found = [Figure("guidance_matrix_assets", sum(not run.problem for run in runs), len(runs), out_of=len(runs))]
    for renderer in VOLUMES:
        cells = [[run for run in runs if (run.guidance, run.renderer) == (name, renderer)] for name in MUST]
        shares = [(sum(run.right for run in here), len(here)) for here in cells if here]
        if shares:
            right, count = min(shares, key=lambda share: share[0] / share[1])
            found.append(Figure(f"guidance_matrix_worst_{renderer}", right, -(-GOAL * count // 1), out_of=count))
    return found


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    guidances, renderers, prompts = chosen(options)
    references = build_references(cache=options.keep / "references.npz")
    runs: list[Run] = []
    for prompt in prompts:  # so that a run that is stopped has whole columns of prompts
        for guidance in guidances:
            for renderer in renderers:
                if (guidance, renderer) not in UNSUITED:
                    folder = folder_of(guidance, renderer, prompt, options.keep)
                    runs.append(made(guidance, renderer, prompt, folder, references))
                    print(line(runs[-1]), flush=True)
    print(table(runs, guidances, renderers))
    for (guidance, renderer), why in UNSUITED.items():
        if guidance in guidances and renderer in renderers:
            print(f"- {guidance} with {renderer}: {why}")
    if options.sheet:
        write_sheet(options.sheet, lines_of(runs, options.keep))
    options.raw["runs"] = [asdict(run) for run in runs]
    return figures(runs)


if __name__ == "__main__":
    main(
        __doc__,
        measure,
        keep={"type": Path, "default": Path("outputs/guidance_matrix"), "metavar": "FOLDER", "help": "of the runs"},
        only={"default": "", "metavar": "GUIDANCE,RENDERER", "help": "only these; either may be empty"},
        prompt={"default": "", "metavar": "SUBSTRING", "help": "only the prompts that hold this"},
        sheet={"type": Path, "default": None, "metavar": "FILE.png", "help": "write all runs' views here"},
    )
