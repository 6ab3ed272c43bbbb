"""Edits of a reconstructed real scene: every method and every kind of region runs, and what the region does not touch
is the same to the bit; and what a step loop over a splat file of 100,000 Gaussians holds in memory.

The scene is reconstructed from a folder of photographs, shortly: what is asked is whether editing keeps to its region,
not how good the pictures are, for which the embedded prior, which knows toys, is no judge. Pixels are compared over all
photographs' cameras: where no Gaussian of the region (before or after) or no ray through the region's space takes part,
colour, coverage and depth are to be equal to the bit; elsewhere something has to have changed, or nothing was shown.
"""

from __future__ import annotations

import argparse
import copy
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from figures import CannotRun, Figure, main
from memory import peak_resident
from pairs import METHODS, finish

from distill3d.core.cameras import Cameras
from distill3d.files.pictures import write_png
from distill3d.geometry.region import Region
from distill3d.renderers import GaussianRenderer, Renderer
from distill3d.renderers.gaussians import PARAMETERS
from distill3d.run.capture_views import capture_views
from distill3d.run.scene import open_scene

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "fox"
SENTENCES = "a red cube", "a blue cube"  # words that the embedded prior knows
KINDS = ("sphere", "box", "mask", "words")
GAUSSIANS, MEMORY = 100_000, 3.0  # GiB


def make_scene(kind: str, options: argparse.Namespace) -> Path:
    folder = options.out / kind
    steps, points = (60, 6000) if options.quick else (400, 15_000)
    short = ["downscale=8", "threads=1", f"steps={steps}"]
    short += [f"start_points={points}"] if kind == "gaussians" else []
    problem = finish(folder, ["run", "reconstruct", f"data={options.data}", f"renderer.kind={kind}", *short])
    if problem:
        raise CannotRun(problem)
    return folder


def regions(source: Path, out: Path) -> dict[str, list[str]]:
    """What --region and its options say: a piece of the surface in the middle of the first photograph."""
    scene, cameras = open_scene(source), capture_views(source, lens=False)
    if cameras is None:
        raise CannotRun(f"{source} was made from no photographs")
    small = cameras[:1].resized((cameras.height // 4, cameras.width // 4))
    with torch.no_grad():
        depth = scene.shape.eval()(small).depth[0, small.height // 2, small.width // 2, 0]
    origins, directions = small.rays()
    point = origins[0, 0, 0] + depth * directions[0, small.height // 2, small.width // 2]
    center, radius = point.double().numpy()[None], 0.12
    if scene.placing is not None:
        center, radius = scene.placing.undo(center), radius / scene.placing.scale
    x, y, z = center[0]
    mask = np.zeros((cameras.height, cameras.width), np.uint8)
    mask[cameras.height * 2 // 5 : cameras.height * 3 // 5, cameras.width * 2 // 5 : cameras.width * 3 // 5] = 255
    write_png(mask, out / "mask.png")
    low, high = (",".join(f"{v:.5f}" for v in center[0] + sign * radius) for sign in (-1, 1))
    return {
        "sphere": [f"sphere:{x:.5f},{y:.5f},{z:.5f},{radius:.5f}"],
        "box": [f"box:{low},{high}"],
        "mask": [f"mask={out / 'mask.png'}", "--region-view", "0"],
        "words": ["the red"],
    }


def edit(source: Path, method: str, kind: str, region: list[str], options: argparse.Namespace) -> tuple[Path, str]:
    folder = options.out / "edits" / f"{source.name}-{method}-{kind}"
    told = ["make it blue"] if method == "in2n" else list(SENTENCES)
    steps = ["steps=6", "cameras.views=2", "export.formats=[]", "export.turntable_frames=0", "threads=1"]
    few = ["frames=4", "every=2", "at_once=2"] if method in ("in2n", "sdedit", "controlnet") else []
    words = ["edit", str(source), *told, *steps, *few, "--method", method, "--views", "capture", "--region", *region]
    return folder, finish(folder, words)


@torch.no_grad()
def pictures(renderer: Renderer, cameras: Cameras) -> Tensor:
    """[B, H, W, 5]: colour, coverage, depth."""
    seen = renderer.eval()(cameras, background=torch.ones(3))
    return torch.cat([seen.rgb, seen.alpha, seen.depth], -1)


def some_of(splats: GaussianRenderer, which: Tensor) -> GaussianRenderer:
    part = copy.deepcopy(splats)
    for name in PARAMETERS:
        setattr(part, name, torch.nn.Parameter(getattr(splats, name).detach()[which]))
    return part


def changed(source: Path, folder: Path) -> tuple[int, int, int]:
    """Pixels that the region does not touch, how many of them changed, and how many of the others did."""
    old, new, cameras = open_scene(source), open_scene(folder).shape, capture_views(source, lens=False)
    said = yaml.safe_load((folder / "config.yaml").read_text())["region"]
    region = Region.parse(said)
    if old.placing is not None:
        region = region.seen_from(torch.from_numpy(old.placing.inverse.matrix))
    beside = moved = within = 0
    for i in range(0, len(cameras), 6):
        view = cameras[i : i + 1]
        before, after = pictures(old.shape, view), pictures(new, view)
        if isinstance(old.shape, GaussianRenderer):
            inside = region.contains(old.shape.means.detach())
            touched = sum(pictures(some_of(s, inside), view)[..., 3] for s in (old.shape, new)) > 0
        else:
            origins, directions = view.rays()
            touched = region.meets(origins.reshape(-1, 3), directions.reshape(-1, 3)).view(before.shape[:-1])
        differs = (before != after).any(-1)
        beside, moved = beside + int((~touched).sum()), moved + int((differs & ~touched).sum())
        within += int((differs & touched).sum())
    return beside, moved, within


def splat_memory(options: argparse.Namespace) -> float:
    """GiB that a process held at most which edited a file of `GAUSSIANS`."""
    done = subprocess.run(
        [sys.executable, __file__, "--only-memory", str(options.out)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CannotRun(f"the process that measures memory failed: {done.stderr.strip().splitlines()[-1:]}")
    return float(done.stdout.split()[-1])


def only_memory(out: Path) -> None:
    from distill3d.run.edit import edit as edit_scene
    from distill3d.run.progress import Progress
    from distill3d.run.splats import write_scene

    section = {"kind": "gaussians", "start": {"count": GAUSSIANS, "radius": 0.6, "opacity": 0.3}}
    out.mkdir(parents=True, exist_ok=True)
    write_scene(Renderer.build(section, generator=torch.Generator().manual_seed(0)), out / "many.ply")
    folder = out / f"many-{np.random.default_rng().integers(1 << 32)}"
    few = ["steps=5", "threads=1", "preview_every=2", "export.formats=[]", "export.turntable_frames=0"]
    edit_scene(
        out / "many.ply", "a red sphere", "a blue sphere", out=folder, overrides=few, progress=Progress(quiet=True)
    )
    print(peak_resident() / 2**30)


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    if not options.data.exists():
        raise CannotRun(f"{options.data}: no such folder; --data FOLDER names a capture")
    options.out.mkdir(parents=True, exist_ok=True)
    yield Figure("edit_100k_splats_memory", splat_memory(options), MEMORY, "GiB", at_most=True)
    failed, wrong, still = 0, 0, 0
    for renderer in ("gaussians",) if options.quick else ("gaussians", "nerf"):
        source = make_scene(renderer, options)
        where = regions(source, options.out)
        jobs = [(method, "sphere") for method in METHODS] + [("pds", kind) for kind in KINDS[1:]]
        for method, kind in jobs[-3:] if options.quick else jobs:
            folder, problem = edit(source, method, kind, where[kind], options)
            if problem:
                failed += 1
                print(f"{renderer:<10} {method:<11} {kind:<7} {problem}", flush=True)
                continue
            beside, moved, within = changed(source, folder)
            wrong, still = wrong + moved, still + (within == 0)
            options.raw[folder.name] = [beside, moved, within]
            told = f"{beside} pixels that the region does not touch, {moved} changed; {within} of the others"
            print(f"{renderer:<10} {method:<11} {kind:<7} {told}", flush=True)
    yield Figure("real_edits_that_failed", failed, 0, at_most=True)
    yield Figure("real_edits_changed_beside_region", wrong, 0, "pixels", at_most=True)
    yield Figure("real_edits_that_changed_nothing", still, 0, at_most=True)


if __name__ == "__main__":
    if "--only-memory" in sys.argv:
        only_memory(Path(sys.argv[-1]))
    else:
        main(
            __doc__,
            measure,
            data={"type": Path, "default": DATA, "metavar": "FOLDER", "help": "a capture"},
            out={"type": Path, "default": Path("outputs/real-edits"), "metavar": "FOLDER", "help": "where the runs go"},
        )
