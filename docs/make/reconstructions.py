"""The picture of reconstructions in docs/captures.md: python docs/make/reconstructions.py RUNS

RUNS holds the captures `spot` and `house` (docs/captures.md says how they are made), and of each the runs NAME-nerf and
NAME-gaussians. A row a scene: a held-out photograph, then the NeRF and the splats from there, then the NeRF's depth.
Below a picture stands its PSNR in dB, and in brackets the mean over all held-out views; both are printed as well.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from distill3d.files.captures import Capture, read_capture
from distill3d.geometry.picture_quality import psnr
from distill3d.renderers import Renderer
from distill3d.run.color_map import colored
from distill3d.run.scene import open_scene

OUT = Path(__file__).resolve().parents[1] / "pictures" / "reconstructions.png"
SCENES, HEADS = ("spot", "house"), ("photograph, held out", "NeRF", "splats", "depth of the NeRF")
SIDE, GAP, LINE = 256, 8, 18  # pixels
WHITE = torch.ones(3)


def photograph(capture: Capture, index: int) -> torch.Tensor:
    """[H, W, 3] before white."""
    picture = capture.pictures[index].float() / 255
    return picture[..., 3:] * picture[..., :3] + 1 - picture[..., 3:]


def judged(renderer: Renderer, capture: Capture, index: int) -> float:
    shown = renderer(capture.cameras[index], background=WHITE).rgb[0].clamp(0, 1)
    return psnr((shown - photograph(capture, index)).square().mean())


def depth_picture(renderer: Renderer, capture: Capture, index: int) -> torch.Tensor:
    """[H, W, 3]: near is bright, far is dark, from the nearest to the farthest that is seen of the object."""
    drawn = renderer(capture.cameras[index], background=WHITE)
    depth, alpha = drawn.depth[0, ..., 0], drawn.alpha[0]
    near, far = (float(depth[alpha[..., 0] > 0.9].quantile(q)) for q in (0.01, 0.99))
    share = ((far - depth) / (far - near)).clamp(0, 1).numpy()
    return alpha * torch.from_numpy(colored(share)) + 1 - alpha


def cell(picture: torch.Tensor, words: str) -> Image.Image:
    """A picture enlarged, with a line below it."""
    image = Image.fromarray((picture.clamp(0, 1) * 255).round().byte().numpy()).resize((SIDE, SIDE))
    whole = Image.new("RGB", (SIDE, SIDE + LINE), "white")
    whole.paste(image, (0, 0))
    ImageDraw.Draw(whole).text((SIDE // 2, SIDE + LINE // 2), words, fill="black", anchor="mm", font_size=13)
    return whole


@torch.no_grad()
def row(runs: Path, name: str) -> list[Image.Image]:
    capture = read_capture(runs / name)
    held_out = capture.part(held_out=True).tolist()
    index = held_out[len(held_out) // 2]
    cells, shapes = [cell(photograph(capture, index), HEADS[0])], []
    for kind, head in (("nerf", HEADS[1]), ("gaussians", HEADS[2])):
        renderer = open_scene(runs / f"{name}-{kind}").shape
        assert isinstance(renderer, Renderer)
        found = {i: judged(renderer, capture, i) for i in held_out}
        words = f"{head}: {found[index]:.1f} dB ({np.mean(list(found.values())):.1f})"
        least, most = min(found.values()), max(found.values())
        print(f"{name}, {words}, over {len(found)} held-out views: {least:.1f} to {most:.1f}")
        cells.append(cell(renderer(capture.cameras[index], background=WHITE).rgb[0], words))
        shapes.append(renderer)
    return [*cells, cell(depth_picture(shapes[0], capture, index), HEADS[3])]


if __name__ == "__main__":
    torch.set_num_threads(1)
    rows = [row(Path(sys.argv[1]), name) for name in SCENES]
    wide, high = SIDE + GAP, SIDE + LINE + GAP
    sheet = Image.new("RGB", (len(HEADS) * wide - GAP, len(rows) * high - GAP), "white")
    for y, cells in enumerate(rows):
        for x, image in enumerate(cells):
            sheet.paste(image, (x * wide, y * high))
    sheet.save(OUT, optimize=True)
