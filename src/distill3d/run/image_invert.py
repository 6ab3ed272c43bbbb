"""From a picture to its noise and back, or on to another sentence: `distill3d image invert`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from distill3d.core.errors import UserError
from distill3d.diffusion.inversion import invert as to_noise
from distill3d.diffusion.sampling import sample
from distill3d.files.atomic import write_bytes
from distill3d.run.image import Asked, check_prompt, counted, opened
from distill3d.run.image_files import check_out, check_writable, open_picture, straight, write_grid
from distill3d.run.progress import Progress


@dataclass(frozen=True)
class Inverted:
    """What was written: the picture beside what its noise gives (and beside the edit), and how near that came.

    psnr in dB, of the reconstruction, colour over the prior's background and coverage.
    """

    path: Path
    psnr: float


def invert(
    picture: str | Path,
    asked: Asked,
    out: str | Path,
    *,
    to: str | None = None,
    iterations: int = 3,
    noise: str | Path | None = None,
    progress: Progress | None = None,
) -> Inverted:
    """DDIM inversion of a picture that shows the prompt, and the way back; written side by side as PNG.

    Args:
        asked: with the scale of both ways; 1 comes back best.
        to: another sentence, followed from the same noise.
        iterations: of the fixed point in each step (Pan et al. 2023); 1 is plain inversion.
        noise: a safetensors file for the noise, tensor `noise` [1, c, h, w].
        progress: who shows it; nobody by default.
    Raises:
        UserError: anything that the caller can put right, before any work where that can be known.
    """
    path = check_out(out, picture)
    asked.check()
    if not 1 <= iterations <= 100:
        raise UserError(f"--iterations is 1 to 100 (got {iterations})")
    if to is not None:
        check_prompt(to, "the prompt of --to")
    if noise is not None and (Path(noise).suffix != ".safetensors" or Path(noise).is_dir()):
        raise UserError(f"{noise}: the noise is a safetensors file, give a name that ends in .safetensors")
    if noise is not None:
        check_writable(Path(noise))
    with progress or Progress(quiet=True) as progress, opened(asked, progress, to or "") as prior:
        given = open_picture(picture, prior, progress)
        images, condition = given.images.to(prior.device), asked.condition(prior)
        prompts = [asked.prompt] if to is None else [asked.prompt, to]
        with counted(progress, asked.steps * (1 + len(prompts))) as callback:
            start = to_noise(prior, images, condition, asked.steps, asked.cfg_scale, iterations, callback)
            made = []
            for prompt in prompts:
                told = Asked(prompt, asked.negative, asked.view_name).condition(prior)
                made.append(sample(prior, told, asked.steps, asked.cfg_scale, start=start, callback=callback))
        error = float((made[0] - images).square().mean())
        pictures = given.as_given(straight(torch.cat(made), prior.background))
    write_grid(np.concatenate([given.pixels[None], pictures]), path)
    if noise is not None:
        write_bytes(Path(noise), save({"noise": start.cpu().contiguous()}))
    return Inverted(path, -10 * math.log10(max(error, 1e-12)))
