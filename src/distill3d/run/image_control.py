"""Pictures that follow another picture, through a ControlNet: `distill3d image control`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.diffusion.hint import Hint
from distill3d.diffusion.sampling import Callback, sample
from distill3d.files.picture_reading import read_picture
from distill3d.run.image import Asked, each, opened
from distill3d.run.image_files import check_out, fitted, straight, write_grid
from distill3d.run.progress import Progress


def control(hint: str | Path, asked: Asked, out: str | Path, progress: Progress | None = None) -> Path:
    """Samples pictures under a ControlNet and writes them as PNG.

    Args:
        hint: the picture that the ControlNet is shown: depth, edges, normals, whatever it was trained on.
        asked: names the ControlNet in `control`, with its weight.
        progress: who shows it; nobody by default.
    Raises:
        UserError: anything that the caller can put right, before any work where that can be known.
    """
    path = check_out(out)
    asked.check()
    if not asked.control:
        raise UserError("name a ControlNet with --control FOLDER")
    shown = read_picture(hint)[..., :3]
    with progress or Progress(quiet=True) as progress, opened(asked, progress) as prior:
        pixels = fitted(shown, prior.resolution).astype(np.float32) / 255
        condition = asked.condition(prior, control=Hint(torch.from_numpy(pixels)[None].to(prior.device)))

        def make(generator: torch.Generator, callback: Callback) -> Tensor:
            return sample(prior, condition, asked.steps, asked.cfg_scale, generator=generator, callback=callback)

        pictures = straight(each(asked, progress, asked.steps, make), prior.background)
    write_grid(pictures, path)
    return path
