"""RePaint (Lugmayr et al. 2022): fill a hole by any prior, going back and forth until it fits its surroundings."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from distill3d.diffusion.condition import Condition
from distill3d.diffusion.ddpm import ddpm
from distill3d.diffusion.guided import guided_denoiser
from distill3d.diffusion.known_region import keep_known
from distill3d.diffusion.picture_space import as_bool, mask_to_space, to_space
from distill3d.diffusion.prior import Prior
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.timesteps import timesteps
from distill3d.diffusion.walk import Callback, Denoiser, Limits, Randomness, SamplingStep, everywhere, standard_normal


def resampling(steps: int, jump: int = 10, repeats: int = 10) -> list[int]:
    """Which level of noise is visited after which: N - 1, N - 2, .., 0, -1 with jumps back up, for N steps.

    Each time that a multiple of `jump` is reached, the walk goes `jump` levels up again and comes back, repeats - 1
    times; not near the noisy end, where there is no room above. The paper's 250 steps with jumps of 10 repeated 10
    times make 2410 calls of the denoiser (and 216 jumps). In general N + jump (repeats - 1) ceil((N - jump) / jump).
    """
    left = dict.fromkeys(range(0, steps - jump, jump), repeats - 1)
    levels = [steps - 1]
    while levels[-1] >= 0:
        level = levels[-1]
        if left.get(level, 0) > 0:
            left[level] -= 1
            levels.append(level + jump)
        else:
            levels.append(level - 1)
    return levels


def repaint(
    schedule: NoiseSchedule,
    denoise: Denoiser,
    known: Tensor,
    keep_mask: Tensor,
    times: list[int],
    jump: int = 10,
    repeats: int = 10,
    clip: Limits = None,
    generator: Randomness = None,
    callback: Callback | None = None,
) -> Tensor:
    """Ancestral sampling in which the kept part is, after every step, the known picture at that level of noise.

    On the way down alone the hole cannot answer to its surroundings: they are drawn anew at every level. So the walk
    jumps back up (`resampling`), x_t given x_s by one draw of q(x_t | x_s), and harmonises the two on the way down
    again. Where the published code pastes the known part before a step and never after the last, here the kept part
    of the result is `known` to the bit. The tutorial prints the mask with both polarities, and notes the known part
    at t where it must be at s.

    Args:
        known: [B, ...], clean; what lies in the hole is not looked at.
        keep_mask: bool, broadcastable to it; True is kept.
        times: falling, from `timesteps`; N steps.
        jump, repeats: of `resampling`; repeats 1 is plain compositing, never a jump.
        clip: as for `walk`.
        callback: sees every call of the denoiser; the total counts them.
    """
    known = torch.where(keep_mask, known, torch.zeros_like(known))
    constrain = keep_known(schedule, known, keep_mask, generator)
    levels = resampling(len(times) - 1, jump, repeats)
    calls, done = sum(b < a for a, b in itertools.pairwise(levels)), 0
    at = dict(enumerate(reversed(times), start=-1))  # a level's time
    x = standard_normal(known, generator)
    for level, following in itertools.pairwise(levels):
        t, s = at[level], at[following]
        if following > level:
            x = schedule.add_more_noise(x, standard_normal(x, generator), everywhere(t, x), everywhere(s, x))
            continue
        seen: list[SamplingStep] = []
        x = ddpm(schedule, denoise, x, [t, s], "small", clip, generator, seen.append, constrain)
        if callback is not None:
            callback(SamplingStep(done, calls, t, s, seen[0].prediction, x))
        done += 1
    return x


@torch.no_grad()
def inpaint(
    prior: Prior,
    images: Tensor,
    keep_mask: Tensor,
    condition: Condition,
    steps: int = 50,
    cfg_scale: float = 3.0,
    jump: int = 5,
    repeats: int = 5,
    generator: Randomness = None,
    callback: Callback | None = None,
) -> Tensor:
    """Pictures [B, H, W, C] in 0..1, the pixels filled in that the mask does not keep, by a pixel or a latent prior.

    Args:
        keep_mask: [B or 1, H, W], True (or above a half) is kept: those pixels come back as they were.
        condition: from `prior.condition`; one item for each picture.
        jump, repeats, generator, callback: as for `repaint`.

    Raises:
        UserError: pictures or a mask that the prior cannot take.
    """
    mask, pixels = mask_to_space(prior, keep_mask), as_bool(keep_mask)[..., None]
    x = to_space(prior, torch.where(pixels, images, 0.5))  # an encoder's cells would see into the hole
    x = repaint(
        prior.schedule,
        guided_denoiser(prior, condition, cfg_scale),
        x,
        mask,
        timesteps(steps, total=len(prior.schedule)),
        jump,
        repeats,
        prior.clip_range,
        generator,
        callback,
    )
    return torch.where(pixels, images, prior.decode(x).clamp(0, 1))
