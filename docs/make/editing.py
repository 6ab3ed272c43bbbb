"""The plot of docs/editing.md: python docs/make/editing.py"""

from __future__ import annotations

from pathlib import Path

import torch
from plots import WIDTH, panel, write_panels

from distill3d.diffusion import schedule_families as families
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.guidance.posterior import identity_weights

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


if __name__ == "__main__":
    identity()
