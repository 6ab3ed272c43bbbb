"""Pictures sampled from a prior, on disk: `distill3d image`."""

from __future__ import annotations

import math
import re
from pathlib import Path

import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.component import nearest
from distill3d.core.errors import UserError
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.sampling import sample
from distill3d.files.pictures import to_bytes, write_png
from distill3d.run.backend import choose_device, reproducible

VIEWS = {  # azimuth and elevation in degrees; the object's own left is at +90
    "front": (0.0, 15.0),
    "back": (180.0, 15.0),
    "left": (90.0, 15.0),
    "right": (-90.0, 15.0),
    "top": (0.0, 60.0),
}


def view(text: str, count: int) -> Cameras:
    """`count` equal cameras for a view's name, or for "AZIMUTH,ELEVATION" in degrees.

    Raises:
        UserError: neither of the two.
    """
    number = r"-?\d+(?:\.\d+)?"
    match = re.fullmatch(rf"({number}),({number})", text.replace(" ", ""))
    if text in VIEWS:
        azimuth, elevation = VIEWS[text]
    elif match and abs(float(match[2])) < 90:
        azimuth, elevation = float(match[1]), float(match[2])
    else:
        raise UserError(f"unknown view {text!r}{nearest(text, VIEWS)}, or AZIMUTH,ELEVATION in degrees")
    return Cameras.orbit(torch.full((count,), math.radians(azimuth)), math.radians(elevation))


def sample_pictures(
    prior: DiffusionPrior, prompt: str, cameras: Cameras | None, count: int, steps: int, cfg_scale: float, seed: int
) -> Tensor:
    """[count, H, W, 3 or 4] in 0..1; picture i is the same whatever `count` is.

    Args:
        cameras: `count` of them, or None: the prior chooses its view.
    """
    pictures = []
    for i in range(count):
        generator = torch.Generator().manual_seed(seed + i)
        condition = prior.condition(prompt, None if cameras is None else cameras[i].to(prior.device))
        pictures.append(sample(prior, condition, steps=steps, cfg_scale=cfg_scale, generator=generator).cpu())
    return torch.cat(pictures)


def sample_to_file(
    prompt: str,
    out: str | Path,
    view_name: str | None = None,
    count: int = 1,
    steps: int = 50,
    cfg_scale: float = 3.0,
    seed: int = 0,
    model: str = "toybox",
) -> Path:
    """Samples `count` pictures and writes them as one PNG, side by side in rows of at most four.

    Raises:
        UserError: an unknown view or model, a number out of range, or a file that cannot be written.
    """
    path = Path(out)
    if path.suffix.lower() != ".png" or path.is_dir():
        raise UserError(f"{out}: the picture is a PNG, give a file name that ends in .png")
    if not prompt.strip():
        raise UserError("the prompt is empty")
    for name, value, low, high in (("--n", count, 1, 256), ("--steps", steps, 1, 1000)):
        if not low <= value <= high:
            raise UserError(f"{name} is {low} to {high} (got {value})")
    device = choose_device("auto")
    cameras = None if view_name is None else view(view_name, count)
    with reproducible("auto"), torch.no_grad():
        prior = DiffusionPrior(DiffusionPrior.Config(model=model), device=device)
        if cameras is not None and not prior.sees_cameras:
            raise UserError(f"the prior {model!r} takes no camera; say the view in the prompt instead of --view")
        pictures = sample_pictures(prior, prompt, cameras, count, steps, cfg_scale, seed)
    write_png(to_bytes(grid(pictures).numpy()), path)
    return path


def grid(pictures: Tensor, columns: int = 4) -> Tensor:
    """[B, H, W, C] side by side, as one picture [rows * H, columns * W, C]; empty places are 0."""
    columns = min(columns, len(pictures))
    missing = -len(pictures) % columns
    filled = torch.cat([pictures, pictures.new_zeros(missing, *pictures.shape[1:])]).clamp(0, 1)
    rows = filled.unflatten(0, (-1, columns))
    return rows.permute(0, 2, 1, 3, 4).flatten(0, 1).flatten(1, 2)
