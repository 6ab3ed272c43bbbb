"""Pictures changed by score distillation, from one sentence to another: `distill3d image edit --method dds`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from distill3d.core.component import nearest
from distill3d.core.errors import UserError
from distill3d.guidance.picture_edit import PictureEdit, PictureMethod, edit_picture
from distill3d.run.image import Asked, check_prompt, each, opened
from distill3d.run.image_edit import kept
from distill3d.run.image_files import check_out, open_mask, open_picture, size_of, straight, write_grid
from distill3d.run.progress import Progress

METHODS = get_args(PictureMethod)


def edit(
    picture: str | Path,
    before: str,
    asked: Asked,
    out: str | Path,
    *,
    method: str = "dds",
    cfg_scale: float | None = None,
    strength: float = 1.0,
    mask: str | Path | None = None,
    sheet: str | Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """A picture of what `before` says, made to fit the prompt by gradient descent, and written as PNG.

    Args:
        before: what the picture shows; for sds it is not asked.
        asked: its `steps` are those of gradient descent; its `cfg_scale` is not asked.
        method: dds, pds or sds; see `guidance.picture_edit`.
        cfg_scale: None takes the one that suits the prior.
        strength: how far up the schedule the times reach, as a share of what the method has: 1 is all.
        mask: a picture, white where it may change; all of it by default.
        sheet: a PNG for before and after, side by side.
        progress: who shows it; nobody by default.
    Raises:
        UserError: anything that the caller can put right, before any work where that can be known.
    """
    if method not in METHODS:
        raise UserError(f"unknown method {method!r}{nearest(method, ('sdedit', *METHODS))}")
    path = check_out(out, picture, mask)
    beside = None if sheet is None else check_out(sheet, picture, mask)
    (asked if cfg_scale is None else replace(asked, cfg_scale=cfg_scale)).check()
    check_prompt(before, "the prompt of --from")
    if not 0 < strength <= 1:
        raise UserError(f"--strength is above 0, and 1 at most, for {method} (got {strength:g})")
    size = size_of(picture)
    with progress or Progress(quiet=True) as progress, opened(asked, progress, before) as prior:
        if before == asked.prompt and method != "sds":
            progress("both sentences are the same: nothing pulls, and the picture is kept")
        change = None if mask is None else open_mask(mask, prior, size)
        given = open_picture(picture, prior, progress)
        texts = (asked.condition(prior), replace(asked, prompt=before).condition(prior))
        how = PictureEdit.suited_to(prior, method, cfg_scale, strength)  # type: ignore[arg-type]
        images, keep = given.images.to(prior.device), None if change is None else ~change.to(prior.device)

        def make(generator: torch.Generator, callback: Any) -> Tensor:
            return edit_picture(prior, images, *texts, how, asked.steps, keep, generator, callback)

        made = each(asked, progress, asked.steps, make)
        pictures = kept(straight(made, prior.background), given, change)
        same = (made == given.images).flatten(1).all(1).numpy()
        pictures = np.where(same[:, None, None, None], given.pixels, pictures)
    write_grid(pictures, path)
    if beside is not None:
        write_grid(np.concatenate([given.pixels[None], pictures]), beside)
    return path
