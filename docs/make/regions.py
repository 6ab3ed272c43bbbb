"""The picture of regions in docs/editing.md: python docs/make/regions.py

A red mushroom and a hat on a cube of the toybox, as meshes: what a mask on the front view holds, and what words hold.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from distill3d.files.pictures import write_png
from distill3d.files.ply import write_ply
from distill3d.geometry.region import Region
from distill3d.run.edit import as_renderer, seen_by
from distill3d.run.locating import Listener, RegionAsked, locate
from distill3d.run.mask_region import SIZE, mask_view
from distill3d.run.scene import open_scene
from distill3d.systems.edit import side_cameras
from distill3d.systems.region_picture import region_picture
from distill3d.toybox.part_mesh import part_mesh
from distill3d.toybox.world import toy_from_prompt

OUT = Path(__file__).resolve().parents[1] / "pictures" / "regions.png"
SEED = 3
ROWS = (  # what a toy is in words, and a region of it
    ("a red mushroom", "mask"),
    ("a red mushroom", "the red"),
    ("a red hat on top of a blue cube", "the hat"),
)


def brush(path: Path) -> None:
    """A mask as a hand would paint it: a round stroke over the upper left of the front view."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    write_png(np.uint8(255 * (np.hypot((x - 0.36) / 1.3, y - 0.34) < 0.13)), path)


def row(prompt: str, asked: str, folder: Path) -> np.ndarray:
    """[2 H, 4 H, 3]: four sides, above the same with the region tinted."""
    toy = folder / "toy.ply"
    write_ply(part_mesh(toy_from_prompt(prompt, np.random.default_rng(SEED)))[0], toy)
    scene = open_scene(toy, "z")
    renderer, placing = as_renderer(scene.shape, scene.placing)
    if asked == "mask":
        brush(folder / "mask.png")
        asked = f"mask={folder / 'mask.png'}"
    listener = Listener({"kind": "diffusion"}, prompt, torch.device("cpu"))
    located = locate(RegionAsked(asked), renderer, placing, toy, listener)
    assert mask_view(toy, "front", renderer.kind).camera.height == SIZE
    return region_picture(renderer, seen_by(Region.parse(located.text), placing), side_cameras(torch.device("cpu")))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        rows = [row(*asked, Path(name)) for asked in ROWS]
    height = rows[0].shape[0] // 2
    picture = np.concatenate([np.concatenate([r[:height], r[height:]], 1) for r in rows], 0)
    Image.fromarray(picture).save(OUT, optimize=True)
