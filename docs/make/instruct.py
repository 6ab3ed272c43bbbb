"""The pictures of instructions: python docs/make/instruct.py [--runs FOLDER]

`instructions.png` is what the embedded instruction model makes of single pictures; `refitted.png` what scenes become of
it, toys of the toybox as meshes, before above after, with the edits of the same scenes by SDEdit and by a ControlNet.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from plots import write_grid

from distill3d.core.mesh import Mesh
from distill3d.diffusion.instruct import instructed
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.sdedit import edit
from distill3d.files.glb import write_glb
from distill3d.run import edit as edits
from distill3d.run.progress import Progress
from distill3d.toybox.captions import Description, Item
from distill3d.toybox.dataset import random_cameras
from distill3d.toybox.edit_pairs import draw_pairs
from distill3d.toybox.instructions import recolored, remade, repainted, turned_into
from distill3d.toybox.parts import Toy
from distill3d.toybox.tessellation import subdivide, tessellate
from distill3d.toybox.world import make_toy

OUT = Path(__file__).resolve().parents[1] / "pictures"
EDGE = 0.05  # the longest edge of a mesh that is to take on other colours


def toy(category: str, color: str, seed: int = 2) -> Toy:
    return make_toy(Description(Item(category, color)), seed)


def instructions() -> None:
    """Eight instructions: the picture, what was asked for, what the model makes of it, and of no instruction."""
    asked = [
        recolored(toy("mushroom", "red"), "blue"),
        recolored(toy("cube", "red"), "blue"),
        recolored(toy("mug", "white"), "purple"),
        recolored(toy("car", "green"), "pink"),
        remade(toy("chair", "red"), "wooden"),
        remade(toy("sphere", "red"), "dotted"),
        repainted(toy("snowman", "white", 0), "hat", "red"),
        turned_into(toy("cube", "red"), "cone"),
    ]
    cameras = random_cameras(np.random.default_rng(7), len(asked), 64)
    batch = draw_pairs(asked, [a.wordings[0] for a in asked], cameras, np.ones(len(asked)))
    prior = DiffusionPrior(DiffusionPrior.Config(model="toybox-instruct"))
    rows = {"before": batch.before, "asked for": batch.after}
    for name, scale in (("made", 1.5), ("text scale 0", 0.0)):
        condition = prior.condition(batch.instructions, cameras, image=batch.before)
        seeds = [torch.Generator().manual_seed(i) for i in range(len(asked))]
        rows[name] = edit(prior, batch.before, *_told(condition, scale), generator=seeds)
    write_grid(OUT / "instructions.png", {n: list(row.numpy()) for n, row in rows.items()}, batch.instructions, 120)


def _told(condition, text_scale):  # type: ignore[no-untyped-def]
    conditions, scales = instructed(condition, text_scale, 1.0)
    return conditions, 1.0, 20, scales


def as_mesh(shown: Toy) -> Mesh:
    """The surfaces of a toy's parts, finely enough for colours at the vertices."""
    points, faces, colors, count = [], [], [], 0
    for part in shown.parts:
        own, triangles = tessellate(part.shape, part.size, 24)
        while np.linalg.norm(own[triangles] - own[np.roll(triangles, 1, 1)], axis=-1).max() > EDGE:
            own, triangles = subdivide(own, triangles)
        points.append(own @ part.rotation.T + part.center)
        faces.append(triangles + count)
        colors.append(np.tile(np.float32(part.color), (len(own), 1)))
        count += len(own)
    return Mesh(np.concatenate(points).astype(np.float32), np.concatenate(faces), np.concatenate(colors))


def refitted(runs: Path) -> None:
    """Edits of two scenes by each of the three methods, as runs in `runs`, if they are not there."""
    scenes = (("mushroom", "red", "blue"), ("cube", "red", "blue"))
    found: dict[str, list[Image.Image]] = {}
    for category, before, after in scenes:
        source = runs / f"{before}-{category}.glb"
        source.parent.mkdir(parents=True, exist_ok=True)
        write_glb(as_mesh(toy(category, before)), source)
        sentences = f"a {before} {category}", f"a {after} {category}"
        for method in ("in2n", "sdedit", "controlnet"):
            folder = runs / f"{method}-{category}"
            if not (folder / "report.html").is_file():
                words = (f"make it {after}",) if method == "in2n" else sentences
                options = {"method": method, "out": folder, "progress": Progress(quiet=True)}
                edits.edit(source, *words, colors_only=method == "in2n", **options)
            found.setdefault(method, []).append(Image.open(folder / "findings" / "before_after.png"))
    width, height = found["in2n"][0].size
    sheet = Image.new("RGB", (width * len(scenes), height * len(found)))
    for row, pictures in enumerate(found.values()):
        for column, picture in enumerate(pictures):
            sheet.paste(picture.convert("RGB"), (column * width, row * height))
    sheet.resize((sheet.width * 3 // 4, sheet.height * 3 // 4)).save(OUT / "refitted.png", optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("outputs/refitted"), metavar="FOLDER")
    instructions()
    refitted(parser.parse_args().runs)
