"""From one picture to 3D: do the other sides look, and does the solid lie, as the truth has it?

Twenty toys of seeds that no training meets are photographed once, from a side and a height that differ, as a PNG with
alpha. Each picture becomes a run of a config (zero123 by default) in a process of its own, told the height. Then the
fitted scene is seen from sixteen other places and compared with pictures of the toy from there, and the exported mesh,
cell by cell, with the toy's occupancy. Beside it stands what the one picture itself would say of the other views.
No network takes part in the judging. The world is the one in which the run's own camera sees the toy as the picture
has it (`toybox.framing.find_frame`), so a size or a place that does not fit the other views counts against the run.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import CannotRun, Figure, main
from PIL import Image
from sheets import Line, write_sheet
from text_to_3d import fresh, make, seconds_of

from distill3d.core.cameras import Cameras
from distill3d.geometry.picture_quality import psnr
from distill3d.run.scene import load_run
from distill3d.toybox.asset_shape import read_asset
from distill3d.toybox.framing import Frame, find_frame, seen_in_frame
from distill3d.toybox.geometry import occupancy
from distill3d.toybox.parts import Toy
from distill3d.toybox.pictures import pack
from distill3d.toybox.voxelize import solid_cells
from distill3d.toybox.world import sample_toy

CATEGORIES = (
    "mushroom", "chair", "mug", "car", "house", "duck", "table", "snowman", "lamp", "truck",
    "airplane", "cube", "cone", "teapot", "boat", "tree", "hamburger", "sofa", "rocket", "torus",
)  # fmt: skip
QUICK = 3
SEED = 77_000  # of the toys; trainings count their seeds from 0
FOV, REACH, FILL = math.radians(45), 1.175, 0.75  # the middle of the config's ranges, and its reference.fill
CELLS = 64
VIEWS = [(turn, height) for height in (10, 35) for turn in range(0, 360, 45)]  # degrees, from the picture's own side


@dataclass(frozen=True)
class Subject:
    """A toy, the camera that took its picture, azimuth counted from its front, and the frame that the camera makes."""

    toy: Toy
    camera: Cameras
    frame: Frame


@dataclass(frozen=True)
class Row:
    """How one picture fared; numbers are None where there is no asset, and then `problem` says why."""

    name: str
    psnr: float | None  # dB, mean over the other views of the fitted scene
    given: float  # dB, the same of the picture itself
    iou: float | None
    seconds: float | None
    problem: str = ""


def subject(index: int, category: str, seed: int = SEED) -> Subject:
    """Toy `index` of a seed, and a camera that stands anywhere around it, 5 to 35 degrees above the horizontal."""
    rng = np.random.default_rng((seed, index))
    toy = sample_toy(rng, split="all", category=category, material="plain")
    azimuth, elevation = rng.uniform(-math.pi, math.pi), math.radians(rng.uniform(5, 35))
    camera = Cameras.orbit(azimuth, elevation, REACH / math.tan(FOV / 2), FOV, 256)
    return Subject(toy, camera, find_frame(pack(toy), camera, FILL))


def photograph(subject: Subject, path: Path) -> None:
    rgba = seen_in_frame(pack(subject.toy), subject.frame, subject.camera, 1.0, 3)
    rgba[..., :3] /= np.maximum(rgba[..., 3:], 1e-6)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((rgba.clip(0, 1) * 255).round().astype(np.uint8)).save(path)


def cameras_around(turned_by: float, size: int = 64) -> Cameras:
    """The cameras of `VIEWS`, in a world where the picture's stands at azimuth `turned_by`."""
    turn, height = (torch.tensor(v, dtype=torch.float32).deg2rad() for v in zip(*VIEWS, strict=True))
    return Cameras.orbit(turn + turned_by, height, REACH / math.tan(FOV / 2), FOV, size)


def true_views(subject: Subject) -> torch.Tensor:
    """[V, 64, 64, 3], over grey."""
    cameras, packed = cameras_around(float(subject.camera.azimuth[0])), pack(subject.toy)
    seen = torch.from_numpy(
        np.stack([seen_in_frame(packed, subject.frame, cameras[i], 1.0, 3) for i in range(len(VIEWS))])
    )
    return seen[..., :3] + 0.5 * (1 - seen[..., 3:])


def in_the_runs_world(subject: Subject, camera: Cameras) -> Subject:
    """The same toy, where a run's camera, which stands at azimuth 0, would have to see it."""
    pose = Cameras.orbit(subject.camera.azimuth, camera.elevation, camera.distance).camera_to_world
    own = Cameras(pose, camera.intrinsics, camera.height, camera.width)
    return Subject(subject.toy, own, find_frame(pack(subject.toy), own, FILL))


@torch.no_grad()
def fitted_views(system: Any) -> torch.Tensor:
    """[V, 64, 64, 3], over grey, in the light that the config says is in the picture."""
    light = system.config.reference.light
    renderer = system.renderer.eval()
    told = torch.full((len(VIEWS),), light) if light else None
    return renderer(cameras_around(0.0), background=torch.full((3,), 0.5), light=told).rgb.clamp(0, 1)


def overlap(subject: Subject, asset: Path) -> float:
    """Volumetric IoU of the asset with the toy, both in the world of the picture."""
    mesh = read_asset(asset)
    solid = solid_cells(mesh.vertices[mesh.faces].astype(np.float64), CELLS)
    line = (np.arange(CELLS) + 0.5) * (2 / CELLS) - 1
    points = np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
    a = float(subject.camera.azimuth[0])
    turn = np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])
    own = points @ turn.T / subject.frame.scale + subject.frame.center
    truth = occupancy(subject.toy, own).reshape(solid.shape)
    return float((solid & truth).sum() / max((solid | truth).sum(), 1))


def judged(subject: Subject, picture: Path, folder: Path, problem: str) -> Row:
    name = subject.toy.captions[0]
    done = not problem and (folder / "asset.glb").is_file()
    system = load_run(folder) if done else None
    subject = subject if system is None else in_the_runs_world(subject, system.camera)
    truth = true_views(subject)
    shown = torch.from_numpy(np.asarray(Image.open(picture).resize((64, 64), Image.Resampling.BOX), np.float32) / 255)
    flat = shown[..., :3] * shown[..., 3:] + 0.5 * (1 - shown[..., 3:])
    others = [i for i, (turn, _) in enumerate(VIEWS) if turn]
    given = statistics.mean(psnr((truth[i] - flat).square().mean()) for i in others)
    if system is None:
        return Row(name, None, given, None, None, problem or "no asset")
    fitted = fitted_views(system)
    found = statistics.mean(psnr((truth[i] - fitted[i]).square().mean()) for i in others)
    pair = torch.cat([torch.cat(list(v[[0, 2, 4, 6, 9, 11, 13, 15]]), 1) for v in (truth, fitted)])
    Image.fromarray((pair.clamp(0, 1) * 255).round().byte().numpy()).save(folder / "beside.png")
    seconds = seconds_of(folder)
    return Row(name, found, given, overlap(subject, folder / "asset.glb"), seconds)


def line(row: Row) -> str:
    if row.psnr is None or row.iou is None:
        return f"{row.name:<24} no asset: {row.problem}"
    took = "" if row.seconds is None else f"{row.seconds:.0f}"
    return f"{row.name:<24} {row.psnr:>6.1f} {row.given:>6.1f} {row.psnr - row.given:>+6.1f} {row.iou:>5.2f} {took:>8}"


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    which = [i for i, name in enumerate(CATEGORIES) if options.only in name]
    if not which:
        raise CannotRun(f"no object holds {options.only!r}")
    print(f"{'object':<24} {'views':>6} {'given':>6} {'gain':>6} {'IoU':>5} {'seconds':>8}")
    rows, folders = [], []
    for index in which[: QUICK if options.quick else None]:
        thing = subject(index, CATEGORIES[index])
        folder, picture = options.out / CATEGORIES[index], options.out / f"{CATEGORIES[index]}.png"
        photograph(thing, picture)
        problem = ""
        if options.again or not (folder / "asset.glb").is_file():
            folder = fresh(folder)
            height = f"elevation={math.degrees(thing.camera.elevation[0]):.1f}"
            problem = make(options.config, [f"image={picture}", height, *options.set], folder)
        rows.append(judged(thing, picture, folder, problem))
        folders.append(folder)
        print(line(rows[-1]), flush=True)
    if options.sheet:
        lines = [
            Line(f / "beside.png", f"{r.name}\n{r.psnr or 0:.1f} dB, IoU {r.iou or 0:.2f}", (r.iou or 0) >= 0.6)
            for r, f in zip(rows, folders, strict=True)
        ]
        write_sheet(options.sheet, lines, label=170)
    options.raw["rows"] = [asdict(row) for row in rows]
    return figures(rows)


def figures(rows: Sequence[Row]) -> list[Figure]:
    """The mean gain over the given picture, an object without an asset counting as none; the median IoU."""
    gains = [0.0 if row.psnr is None else row.psnr - row.given for row in rows]
    return [
        Figure("image_to_3d_gain", statistics.mean(gains), goal=4, unit="dB"),
        Figure("image_to_3d_iou", statistics.median(row.iou or 0.0 for row in rows), goal=0.6),
    ]


if __name__ == "__main__":
    main(
        __doc__,
        measure,
        only={"default": "", "metavar": "SUBSTRING", "help": "only the objects whose kind holds this"},
        config={"default": "zero123", "metavar": "NAME", "help": "what makes a scene of a picture"},
        out={"type": Path, "default": Path("outputs/image_to_3d"), "metavar": "FOLDER", "help": "where the runs go"},
        again={"action": "store_true", "help": "run also what has an asset already"},
        set={"nargs": "*", "default": [], "metavar": "KEY=VALUE", "help": "overrides of the config"},
        sheet={"type": Path, "default": None, "metavar": "FILE.png", "help": "write all views here, truth above ours"},
    )
