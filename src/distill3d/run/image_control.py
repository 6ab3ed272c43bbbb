"""Pictures that follow another picture, through a ControlNet: `distill3d image control`."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.diffusion.hint import Hint
from distill3d.diffusion.sampling import Callback, sample
from distill3d.files.picture_reading import read_picture
from distill3d.geometry.canny import canny
from distill3d.run.image import Asked, each, opened
from distill3d.run.image_files import check_out, fitted, open_mask, over, straight, tell_size, write_grid
from distill3d.run.progress import Progress


def control(
    hint: str | Path,
    asked: Asked,
    out: str | Path,
    progress: Progress | None = None,
    mask: str | Path | None = None,
    edges: bool = False,
) -> Path:
    """Samples pictures under a ControlNet and writes them as PNG.

    Args:
        hint: the picture that the ControlNet is shown: depth, edges, normals, whatever it was trained on; over black.
        asked: names the ControlNet in `control`, with its weight.
        progress: who shows it; nobody by default.
        mask: a picture of the hint's size, white where the hint counts; everywhere by default.
        edges: the hint is an ordinary picture, and the ControlNet is shown its edges.
    Raises:
        UserError: anything that the caller can put right, before any work where that can be known.
    """
    path = check_out(out, hint, mask)
    asked.check()
    if not asked.control:
        raise UserError("name a ControlNet with --control FOLDER")
    shown = read_picture(hint)
    with progress or Progress(quiet=True) as progress, opened(asked, progress) as prior:
        tell_size(hint, shown, prior, progress)
        pixels = fitted(shown, prior.resolution) / 255.0
        if edges:
            pixels = canny(over(pixels, 0.5) if pixels.shape[2] == 4 else pixels)[..., None].astype(float)
        pixels = over(pixels, 0.0)[..., :3] if pixels.shape[2] == 4 else pixels
        region = None if mask is None else open_mask(mask, prior, shown.shape[:2])[..., None].float().to(prior.device)
        picture = torch.from_numpy(pixels)[None].float().to(prior.device)
        condition = asked.condition(prior, control=Hint(picture, region=region))

        def make(generator: torch.Generator, callback: Callback) -> Tensor:
            return sample(prior, condition, asked.steps, asked.cfg_scale, generator=generator, callback=callback)

        pictures = straight(each(asked, progress, asked.steps, make), prior.background)
    write_grid(pictures, path)
    return path
