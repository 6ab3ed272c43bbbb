"""The plot and the picture of methods in docs/editing.md: python docs/make/editing.py"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from plots import WIDTH, panel, write_panels

from distill3d.diffusion import schedule_families as families
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.files.picture_reading import read_picture
from distill3d.files.pictures import to_bytes
from distill3d.guidance.posterior import identity_weights
from distill3d.run import image_distillation, image_edit
from distill3d.run.image import Asked, generate
from distill3d.run.image_files import over, side_by_side

OUT = Path(__file__).resolve().parents[1] / "pictures"


def identity() -> None:
    """What PDS multiplies the distance to the source with, in units of what it multiplies the prior's pull with."""
    schedules = {
        "Stable Diffusion": NoiseSchedule.from_betas(families.scaled_linear_betas()),
        "toybox (cosine)": NoiseSchedule.from_betas(families.cosine_betas()),
    }
    t = torch.arange(20, 981, 10)
    panels = []
    for place, (name, schedule) in enumerate(schedules.items()):
        alpha, sigma = (c.flatten() for c in schedule.at(t, torch.zeros(len(t), dtype=torch.float64)))
        curves = {}
        for reading in ("strided", "exact"):
            psi, chi = identity_weights(schedule, t, 2, reading)
            curves[f"{reading}"] = (t.numpy(), (psi * sigma / (alpha * chi)).numpy())
        panels.append(panel(f"identity weight, {name}", curves, "t", place * WIDTH))
    write_panels(OUT / "pds-identity.svg", panels)


def pictures() -> None:
    """A picture of "a red mushroom", and what every method of `image edit` makes of it for "a blue mushroom"."""
    before, after = "a red mushroom", Asked("a blue mushroom", view_name="30,20", steps=100)
    with tempfile.TemporaryDirectory() as folder:
        start = generate(Asked(before, view_name="30,20", seed=1), Path(folder) / "before.png")
        made = [start]
        for method in ("dds", "pds", "sds"):
            out = Path(folder) / f"{method}.png"
            made.append(image_distillation.edit(start, before, after, out, method=method))
        made.append(image_edit.edit(start, replace(after, steps=50), Path(folder) / "sdedit.png"))
        row = side_by_side(np.stack([to_bytes(over(read_picture(p) / 255, 1.0)[..., :3]) for p in made]), 5)
    Image.fromarray(row).resize((2 * row.shape[1], 2 * row.shape[0]), Image.Resampling.NEAREST).save(
        OUT / "edit-methods.png", optimize=True
    )


if __name__ == "__main__":
    identity()
    pictures()
