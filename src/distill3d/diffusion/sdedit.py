"""SDEdit (Meng et al. 2022): noise a rough picture, and denoise it into a real one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from distill3d.diffusion.condition import Condition
from distill3d.diffusion.ddim import Eta, ddim
from distill3d.diffusion.guided import Scale, guided_denoiser
from distill3d.diffusion.known_region import keep_known
from distill3d.diffusion.picture_space import as_bool, mask_to_space, to_space
from distill3d.diffusion.prior import Prior
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.timesteps import started_at, timesteps
from distill3d.diffusion.walk import Callback, Denoiser, Limits, Randomness, everywhere, standard_normal


def sdedit(
    schedule: NoiseSchedule,
    denoise: Denoiser,
    guide: Tensor,
    times: list[int],
    keep_mask: Tensor | None = None,
    repeats: int = 1,
    eta: Eta = 0.0,
    clip: Limits = None,
    generator: Randomness = None,
    callback: Callback | None = None,
) -> Tensor:
    """`guide` noised to times[0], `x = alpha x_guide + sigma z`, and denoised (Meng et al. 2022, algorithms 1 to 3).

    A later start gives realism and takes faithfulness. The tutorial's box swaps the two words: add noise, then denoise.

    Args:
        guide: [B, ...], strokes or a picture.
        times: falling from the starting time, see `started_at`; [-1] gives the guide back.
        keep_mask: bool, broadcastable to the guide; True is kept as it is, exactly.
        repeats: K, each from the last one's result.
        eta: of DDIM; the paper's SDE is 1.
        clip, callback: as for `walk`; the steps of each repeat count from 0 again.
    """
    if len(times) == 1:
        return guide
    constrain = None if keep_mask is None else keep_known(schedule, guide, keep_mask, generator)
    x = guide
    for _ in range(repeats):
        x = schedule.add_noise(x, standard_normal(x, generator), everywhere(times[0], x))
        x = ddim(schedule, denoise, x, times, eta, clip, generator, callback, constrain)
    return x


@torch.no_grad()
def edit(
    prior: Prior,
    images: Tensor,
    condition: Condition | Sequence[Condition],
    strength: float = 0.5,
    steps: int = 50,
    cfg_scale: Scale | Sequence[Scale] = 3.0,
    keep_mask: Tensor | None = None,
    repeats: int = 1,
    eta: Eta = 0.0,
    generator: Randomness = None,
    callback: Callback | None = None,
) -> Tensor:
    """Pictures [B, H, W, C] in 0..1 made to fit a condition by SDEdit, by a pixel prior or a latent one (img2img).

    Args:
        condition: from `prior.condition`; one item for each picture. Several, as many as there are scales, are mixed
            as by `guided`; those of `instruct.instructed` edit by instruction.
        strength: share of the schedule that is walked; 0 gives the pictures back, 1 leaves almost nothing of them.
        steps: of the whole schedule, of which the share `strength` is taken.
        keep_mask: [B or 1, H, W], True (or above a half) is kept: those pixels come back as they were.
        repeats, eta, generator, callback: as for `sdedit`.

    Raises:
        UserError: pictures or a mask that the prior cannot take.
    """
    x, mask = to_space(prior, images), None if keep_mask is None else mask_to_space(prior, keep_mask)
    if strength <= 0:
        return images
    total = len(prior.schedule)
    times = started_at(timesteps(steps, total=total), prior.schedule.fraction(strength))
    denoise = guided_denoiser(prior, condition, cfg_scale)
    x = sdedit(prior.schedule, denoise, x, times, mask, repeats, eta, prior.clip_range, generator, callback)
    made = prior.decode(x).clamp(0, 1)
    return made if keep_mask is None else torch.where(as_bool(keep_mask)[..., None], images, made)
