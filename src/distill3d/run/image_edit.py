"""Pictures changed by a sentence: `distill3d image edit` (SDEdit, or InstructPix2Pix with --instruct) and
`distill3d image inpaint` (RePaint)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.diffusion.condition import Condition
from distill3d.diffusion.guided import Scale
from distill3d.diffusion.instruct import instructed
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.repaint import inpaint as fill
from distill3d.diffusion.repaint import resampling
from distill3d.diffusion.sampling import Callback
from distill3d.diffusion.sdedit import edit as sdedit
from distill3d.diffusion.timesteps import started_at, timesteps
from distill3d.run.image import Asked, each, opened
from distill3d.run.image_files import Opened, check_out, open_mask, open_picture, size_of, straight, write_grid
from distill3d.run.progress import Progress


def edit(
    picture: str | Path,
    asked: Asked,
    out: str | Path,
    *,
    strength: float = 0.6,
    mask: str | Path | None = None,
    repeats: int = 1,
    sheet: str | Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """A picture made to fit the prompt by SDEdit (Meng et al. 2022), written as PNG.

    Args:
        strength: share of the schedule that is walked again: 0 keeps the picture, 1 forgets it.
        mask: a picture, white where it may change; all of it by default.
        repeats: K of the paper.
        sheet: a PNG for before and after, side by side.
        progress: who shows it; nobody by default.
    Raises:
        UserError: anything that the caller can put right, before any work where that can be known.
    """
    path = check_out(out, picture, mask)
    beside = None if sheet is None else check_out(sheet, picture, mask)
    asked.check()
    if not 0 <= strength <= 1:
        raise UserError(f"--strength is 0 to 1 (got {strength:g})")
    if not 1 <= repeats <= 100:
        raise UserError(f"--repeats is 1 to 100 (got {repeats})")
    size = size_of(picture)
    with progress or Progress(quiet=True) as progress, opened(asked, progress) as prior:
        change = None if mask is None else open_mask(mask, prior, size)
        given = open_picture(picture, prior, progress)
        condition = asked.condition(prior)
        pictures = _walked_again(prior, given, change, asked, condition, asked.cfg_scale, strength, repeats, progress)
    return _write(kept(pictures, given, change), given, path, beside)


def instruct(
    picture: str | Path,
    asked: Asked,
    out: str | Path,
    *,
    image_scale: float = 1.0,
    strength: float = 1.0,
    mask: str | Path | None = None,
    sheet: str | Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """A picture changed as an instruction says, by InstructPix2Pix (Brooks et al. 2023), written as PNG.

    `asked.prompt` is the instruction, `asked.cfg_scale` the paper's s_T.

    Args:
        image_scale: the paper's s_I, how closely the picture is kept to.
        strength: share of the schedule that is walked, from the picture noised that far; 1 begins with noise alone.
        mask: a picture, white where it may change; all of it by default.
        sheet: a PNG for before and after, side by side.
        progress: who shows it; nobody by default.
    Raises:
        UserError: anything that the caller can put right, before any work where that can be known; a prior that takes
            no instruction is among it.
    """
    path = check_out(out, picture, mask)
    beside = None if sheet is None else check_out(sheet, picture, mask)
    asked.check()
    if not 0 <= image_scale <= 100:
        raise UserError(f"--image-scale is 0 to 100 (got {image_scale:g})")
    if not 0 <= strength <= 1:
        raise UserError(f"--strength is 0 to 1 (got {strength:g})")
    size = size_of(picture)
    with progress or Progress(quiet=True) as progress, opened(asked, progress) as prior:
        if not prior.sees_image:
            raise UserError(f"the prior {asked.model!r} takes no instruction: toybox-instruct and ip2p do")
        change = None if mask is None else open_mask(mask, prior, size)
        given = open_picture(picture, prior, progress)
        conditions, scales = instructed(asked.condition(prior, image=given.images), asked.cfg_scale, image_scale)
        pictures = _walked_again(prior, given, change, asked, conditions, scales, strength, 1, progress)
    return _write(kept(pictures, given, change), given, path, beside)


def _walked_again(
    prior: DiffusionPrior,
    given: Opened,
    change: Tensor | None,
    asked: Asked,
    condition: Condition | Sequence[Condition],
    scale: Scale | Sequence[Scale],
    strength: float,
    repeats: int,
    progress: Progress,
) -> np.ndarray:
    """The pictures that SDEdit makes of one, [N, H, W, 4] with straight alpha."""
    times = timesteps(asked.steps, total=len(prior.schedule))
    walked = len(started_at(times, prior.schedule.fraction(strength))) - 1
    keep = None if change is None else (~change).to(prior.device)

    def make(generator: torch.Generator, callback: Callback) -> Tensor:
        images = given.images.to(prior.device)
        return sdedit(
            prior, images, condition, strength, asked.steps, scale, keep, repeats, generator=generator,
            callback=callback,
        )  # fmt: skip

    return straight(each(asked, progress, walked * repeats, make), prior.background)


def _write(pictures: np.ndarray, given: Opened, path: Path, beside: Path | None) -> Path:
    """The pictures as a grid, and, where it is asked for, with the given one before them."""
    write_grid(pictures, path)
    if beside is not None:
        write_grid(np.concatenate([given.pixels[None], pictures]), beside)
    return path


def inpaint(
    picture: str | Path,
    asked: Asked,
    out: str | Path,
    *,
    mask: str | Path,
    jump: int = 5,
    repeats: int = 5,
    progress: Progress | None = None,
) -> Path:
    """The white part of the mask made anew by RePaint (Lugmayr et al. 2022); the rest comes back to the bit.

    Args:
        jump, repeats: how far the walk goes back up, in steps, and how often it comes down in all; 1 is never.
        progress: who shows it; nobody by default.
    Raises:
        UserError: anything that the caller can put right, before any work where that can be known.
    """
    path = check_out(out, picture, mask)
    asked.check()
    for name, value, high in (("--jump", jump, 1000), ("--repeats", repeats, 100)):
        if not 1 <= value <= high:
            raise UserError(f"{name} is 1 to {high} (got {value})")
    size = size_of(picture)
    with progress or Progress(quiet=True) as progress, opened(asked, progress) as prior:
        change = open_mask(mask, prior, size)
        given = open_picture(picture, prior, progress)
        condition = asked.condition(prior)
        levels = resampling(asked.steps, jump, repeats)

        def make(generator: torch.Generator, callback: Callback) -> Tensor:
            return fill(
                prior,
                given.images.to(prior.device),
                ~change.to(prior.device),
                condition,
                asked.steps,
                asked.cfg_scale,
                jump,
                repeats,
                generator,
                callback,
            )

        calls = sum(after < before for before, after in itertools.pairwise(levels))
        pictures = straight(each(asked, progress, calls, make), prior.background)
    write_grid(kept(pictures, given, change), path)
    return path


def kept(pictures: np.ndarray, given: Opened, change: Tensor | None) -> np.ndarray:
    """[B, H, W, C], in the form of the given picture and with its pixels, to the bit, where nothing was to change."""
    pictures = given.as_given(pictures)
    return pictures if change is None else np.where(change[0].numpy()[..., None], pictures, given.pixels)
