"""What a scale of guidance does to score distillation, SDS and VSD: right answers, saturated colours, diversity.

The tutorial's account: SDS needs a scale of about 100 with published models, saturates and makes much the same of every
seed; VSD works at the scale of a sample, keeps natural colours and makes different things. Each cell is a short run of
a NeRF (`--steps`) with one scale throughout, for each prompt and seed, in the config of its paper. Over eight views all
around, unlit on grey:

- judged: the share of views that the toybox's classifier reads as the prompt's category and colour;
- saturation: the mean over the object of (max - min) / max of a pixel's colour, and the share above 0.95;
- diversity: between the seeds of one prompt, one minus the cosine of that classifier's features of the same view.

Both methods run in turn from the same seeds. With `--keep FOLDER` a cell that is done is not done again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import Figure, main
from sds_step import take_step
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.files.atomic import write_bytes
from distill3d.renderers import Renderer
from distill3d.run import backend
from distill3d.run.api import build
from distill3d.run.config import load
from distill3d.run.loop import make_optimizer, scale_learning_rates
from distill3d.systems.text_to_3d import TextTo3D
from distill3d.toybox.judge import SIZE, Judge
from distill3d.toybox.verdict import asked

PROMPTS = ("a red mushroom", "a blue chair", "a yellow duck")
METHODS = {"sds": "dreamfusion", "vsd": "prolificdreamer"}
SCALES = (1.0, 7.5, 100.0)
VIEWS = 8
STRONG = 0.95  # saturation of a colour that has next to nothing of one primary


@dataclass(frozen=True)
class Cell:
    """One run, seen from all around."""

    method: str
    scale: float
    prompt: str
    seed: int
    judged: float
    saturation: float
    strong: float
    covered: float
    seconds: float
    features: list[list[float]]


def features_of(judge: Judge, rgba: Tensor) -> Tensor:
    """What the classifier's heads see, [B, D], of pictures [B, 64, 64, 4] in 0..1, colour over grey."""
    maps = judge.trunk(2 * rgba.permute(0, 3, 1, 2) - 1)
    return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)


def saturation_of(rgb: Tensor, alpha: Tensor) -> tuple[float, float]:
    """Mean saturation of the pixels that are covered by more than half, and the share of them above `STRONG`.

    Args:
        rgb: [B, H, W, 3], colour of the object alone. alpha: [B, H, W, 1].
    """
    solid = rgb.clamp(0, 1)[alpha[..., 0] > 0.5]
    if not len(solid):
        return math.nan, math.nan
    most, least = solid.max(1).values, solid.min(1).values
    saturation = (most - least) / most.clamp(min=1e-3)
    return float(saturation.mean()), float((saturation > STRONG).float().mean())


def diversity(cells: Sequence[Cell]) -> float:
    """Mean of one minus the cosine of features, over pairs of seeds, the same view of each; nan for one seed."""
    pairs = list(itertools.combinations([torch.tensor(cell.features) for cell in cells], 2))
    apart = [1 - torch.cosine_similarity(a, b, dim=1).mean() for a, b in pairs]
    return float(torch.stack(apart).mean()) if apart else math.nan


@torch.no_grad()
def all_round(renderer: Renderer) -> tuple[Tensor, Tensor, Tensor]:
    """Eight views: pictures over grey with coverage [8, 64, 64, 4], the object's own colour, and coverage."""
    turn = torch.arange(VIEWS) * (2 * math.pi / VIEWS)
    cameras = Cameras.orbit(turn, math.radians(15), size=SIZE)
    seen = renderer.eval()(cameras, background=torch.full((3,), 0.5))
    own = seen.extras["foreground"] / seen.alpha.clamp(min=1e-3)
    return torch.cat([seen.rgb, seen.alpha], -1).clamp(0, 1), own, seen.alpha


def distilled(method: str, scale: float, prompt: str, seed: int, steps: int, judge: Judge) -> Cell:
    start = time.perf_counter()
    settings: dict[str, Any] = {"prompt": prompt, "seed": seed, "steps": steps, "guidance.0.cfg_scale": scale}
    resolved = load(METHODS[method], **settings)
    with backend.reproducible(resolved.config.threads):
        system = build(resolved, torch.device("cpu"))
        assert isinstance(system, TextTo3D)
        optimizer = make_optimizer(system, resolved.config.optimizer)
        for step in range(steps):
            scale_learning_rates(optimizer, resolved.config.lr_scale.at(step))
            take_step(system, optimizer, step)
        pictures, own, alpha = all_round(system.renderer)
        item, read = asked(prompt), judge.judge(pictures)
        right = [
            name == item.category and color == item.color
            for name, color in zip(read.category_names, read.color_names, strict=True)
        ]
        features = features_of(judge, pictures).tolist()
    seconds = time.perf_counter() - start
    covered = float(alpha.mean())
    return Cell(
        method, scale, prompt, seed, float(np.mean(right)), *saturation_of(own, alpha), covered, seconds, features
    )


def kept(cell: tuple[str, float, str, int], steps: int, keep: Path | None, judge: Judge) -> Cell:
    method, scale, prompt, seed = cell
    name = f"{method}-{scale:g}-{prompt.replace(' ', '-')}-{seed}-{steps}.json"
    if keep is not None and (keep / name).is_file():
        return Cell(**json.loads((keep / name).read_text()))
    made = distilled(method, scale, prompt, seed, steps, judge)
    if keep is not None:
        write_bytes(keep / name, (json.dumps(asdict(made)) + "\n").encode())
    return made


def summary(cells: Sequence[Cell]) -> dict[str, float]:
    """Means over prompts and seeds; diversity within each prompt."""
    prompts = dict.fromkeys(cell.prompt for cell in cells)
    apart = [diversity([cell for cell in cells if cell.prompt == prompt]) for prompt in prompts]
    means = {
        key: float(np.mean([getattr(c, key) for c in cells])) for key in ("judged", "saturation", "strong", "covered")
    }
    return {**means, "diversity": float(np.mean(apart)), "seconds": float(np.mean([c.seconds for c in cells]))}


def write_plot(path: Path, rows: dict[tuple[str, float], dict[str, float]]) -> None:
    """Judged, saturation and diversity over the logarithm of the scale, as SVG; what was not measured is left out."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "docs" / "make"))
    from plots import WIDTH, panel, write_panels

    panels = []
    measured = [k for k in ("judged", "saturation", "diversity") if all(math.isfinite(row[k]) for row in rows.values())]
    for i, key in enumerate(measured):
        curves: dict[str, Any] = {}
        for method in dict.fromkeys(method for method, _ in rows):
            points = [(math.log10(s), row[key]) for (m, s), row in rows.items() if m == method]
            curves[method] = tuple(np.array(column) for column in zip(*points, strict=True))
        panels.append(panel(key, curves, "log10 of the scale", WIDTH * i))
    write_panels(path, panels)


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    prompts = PROMPTS[:1] if options.quick else PROMPTS
    scales, seeds, steps = (SCALES[1:2], 1, 10) if options.quick else (SCALES, options.seeds, options.steps)
    judge, rows = Judge.load(), {}
    print(f"{'':<12} judged  saturation  above {STRONG}  covered  diversity  seconds a run")
    for scale in scales:
        for method in METHODS:
            names = itertools.product([method], [scale], prompts, range(seeds))
            row = rows[method, scale] = summary([kept(name, steps, options.keep, judge) for name in names])
            print(
                f"{method:<5}{scale:>6g} {row['judged']:>7.2f} {row['saturation']:>11.2f} {row['strong']:>11.2f} "
                f"{row['covered']:>8.2f} {row['diversity']:>10.3f} {row['seconds']:>8.0f}",
                flush=True,
            )
    options.raw["rows"] = [{"method": m, "scale": s, **row} for (m, s), row in rows.items()]
    if options.plot and len(scales) > 1:
        write_plot(options.plot, rows)
    elif options.plot:
        print("one scale is no curve: nothing is plotted")
    middle = scales[len(scales) // 2]
    for method in METHODS:
        yield Figure(f"{method}_judged_at_{middle:g}", rows[method, middle]["judged"], goal=0.8)
    if len(scales) > 1:
        worse = rows["sds", scales[-1]]["saturation"] - rows["sds", scales[0]]["saturation"]
        yield Figure("sds_saturation_gained_by_a_large_scale", worse, goal=0.0)
    if seeds > 1:
        times = rows["vsd", middle]["diversity"] / rows["sds", middle]["diversity"]
        yield Figure("vsd_diversity_over_sds", times, goal=1.0, unit="x")


if __name__ == "__main__":
    main(
        __doc__,
        measure,
        steps={"type": int, "default": 60, "help": "of each run (60)"},
        seeds={"type": int, "default": 2, "help": "of each prompt (2)"},
        keep={"type": Path, "default": None, "metavar": "FOLDER", "help": "where finished cells are kept"},
        plot={"type": Path, "default": None, "metavar": "FILE.svg", "help": "write the curves here"},
    )
