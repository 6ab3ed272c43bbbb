"""Shapes out of noise, and out of each other (Koo et al. 2023): generate, complete, mix, edit by text, interpolate.

All of it is the 2D core's samplers on sets of parts. What is kept stands clean among what is made, in both phases, and
comes back to the bit; the denoisers were trained for that. Mixing is SDEdit on the parts that were added, an edit is a
completion under a sentence. (The published demonstration starts a completion from the noised complete shape, which
gives away what was taken out, and draws the intrinsics of kept parts anew; here neither happens.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.diffusion.ddpm import ddpm
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.timesteps import started_at, timesteps
from distill3d.diffusion.walk import Callback, Denoiser, Randomness, standard_normal
from distill3d.parts.gaussians import SIZE, PartGaussians
from distill3d.parts.matching import matched
from distill3d.parts.parts import Parts
from distill3d.parts.salad import Salad, SetDenoiser, salad_schedule

SPARE = 2  # parts that an edit may add
EMPTY = 0.005  # weight in the mixture below which a part holds nothing
STEPS = 100  # of 1000; the published sampler takes them all
MIX_STRENGTH = 0.15  # half of the signal is left there; at 0.3, a tenth
COMPLETION_CFG_SCALE = 1.0  # what is kept says enough, and guidance leaves gaps: 77 of 100 were in one piece at 3
CFG_SCALE = 3.0  # the paper's w is 2, which is this minus 1

Progress = Callable[[int, int], None]  # how many steps of how many are done


@torch.no_grad()
def generate(
    salad: Salad,
    sentence: list[str],
    count: int,
    parts: int,
    generator: Randomness,
    cfg_scale: float = CFG_SCALE,
    steps: int = STEPS,
    progress: Progress | None = None,
) -> Parts:
    """`count` shapes of `parts` parts that a sentence describes.

    Args:
        sentence: its words; none for any shape.
        generator: one, or one for each shape: then a shape's noise does not depend on how many there are.
        cfg_scale: 1 for the conditional model as it is. Without words there is nothing to guide.
        steps: of each phase.
    """
    blank = _blank(salad, count, parts)
    everything = torch.ones(parts, dtype=torch.bool)
    return _resampled(salad, blank, everything, sentence, generator, cfg_scale, steps, progress)


@torch.no_grad()
def complete(
    salad: Salad,
    shape: Parts,
    replaced: Tensor,
    sentence: list[str],
    count: int,
    generator: Randomness,
    cfg_scale: float = COMPLETION_CFG_SCALE,
    steps: int = STEPS,
    progress: Progress | None = None,
) -> Parts:
    """`count` versions of one shape in which the parts `replaced` [P] (bool) are made anew; the others are its own.

    With a sentence about the whole shape this is text-guided editing of those parts.

    Raises:
        UserError: no part is to be replaced.
    """
    if not bool(replaced.any()):
        raise UserError("no part is to be replaced")
    whole = _repeated(shape, count)
    return _resampled(salad, whole, replaced, sentence, generator, cfg_scale, steps, progress)


@torch.no_grad()
def edit(
    salad: Salad,
    shape: Parts,
    replaced: Tensor,
    sentence: list[str],
    count: int,
    generator: Randomness,
    spare: int = SPARE,
    cfg_scale: float = CFG_SCALE,
    steps: int = STEPS,
    progress: Progress | None = None,
) -> list[Parts]:
    """`count` versions of one shape whose parts `replaced` [P] are made anew as the sentence has it.

    What is asked for may need more parts than were there (four legs for a pedestal): `spare` parts are made beside, and
    those of them that come out empty are left out again. The shape's own parts keep their numbers.

    Raises:
        UserError: no part is to be replaced, nothing is asked, or spare is negative.
    """
    if not bool(replaced.any()):
        raise UserError("no part is to be replaced")
    if not sentence:
        raise UserError("an edit needs words that say what the parts become")
    if spare < 0:
        raise UserError(f"spare is at least 0 (got {spare})")
    # Any part stands in for the spare ones, for all of it is made anew; but their logits leave the mean where it is.
    beside = shape.only(torch.zeros(spare, dtype=torch.long))
    mean = shape.gaussians.logits.mean().expand(spare)
    beside = replace(beside, gaussians=replace(beside.gaussians, logits=mean))
    whole = _repeated(shape.joined(beside), count)
    own = torch.arange(len(whole)) < len(shape)
    anew = ~own
    anew[: len(shape)] = replaced
    made = _resampled(salad, whole, anew, sentence, generator, cfg_scale, steps, progress)
    weights = made.gaussians.logits.softmax(-1)
    return [made[i].only(own | (weights[i] > EMPTY)) for i in range(count)]


@torch.no_grad()
def mix(
    salad: Salad,
    kept: Parts,
    added: Parts,
    count: int,
    generator: Randomness,
    strength: float = MIX_STRENGTH,
    sentence: list[str] | None = None,
    cfg_scale: float = CFG_SCALE,
    steps: int = STEPS,
    progress: Progress | None = None,
) -> Parts:
    """`count` shapes of the parts `kept`, which stay as they are, and `added`, which come to fit them by SDEdit.

    Args:
        strength: where in the noise the added parts start, 0 (they stay as they are) to 1 (made anew).
    Raises:
        UserError: a strength outside 0 to 1.
    """
    if not 0 <= strength <= 1:
        raise UserError(f"strength is between 0 and 1 (got {strength})")
    both = _repeated(kept.joined(added), count)
    keep = torch.arange(len(both)) < len(kept)
    return _resampled(salad, both, ~keep, sentence or [], generator, cfg_scale, steps, progress, strength)


def interpolate(first: Parts, second: Parts, count: int) -> Parts:
    """`count` shapes from one to the other, ends included: each part becomes the one of the other nearest to it.

    Raises:
        UserError: fewer than two, or shapes of different numbers of parts.
    """
    if count < 2:
        raise UserError(f"an interpolation has at least 2 shapes (got {count})")
    if len(first) != len(second):
        raise UserError(f"one shape has {len(first)} parts, the other {len(second)}")
    second = matched(second, first)
    share = torch.linspace(0, 1, count)[:, None, None]
    vectors = torch.lerp(first.gaussians.vectors(), second.gaussians.vectors(), share)
    return Parts(PartGaussians.from_vectors(vectors), torch.lerp(first.intrinsics, second.intrinsics, share))


def _resampled(
    salad: Salad,
    shape: Parts,
    replaced: Tensor,
    sentence: list[str],
    generator: Randomness,
    cfg_scale: float,
    steps: int,
    progress: Progress | None,
    strength: float = 1.0,
) -> Parts:
    """A batch of shapes whose parts `replaced` [P] were made anew, in both phases; see `complete` and `mix`."""
    if steps < 1:
        raise UserError(f"steps is at least 1 (got {steps})")
    scales, keep = salad.scales, ~replaced[:, None]
    level = shape.gaussians.logits.mean(-1, keepdim=True)  # vectors hold logits about a mean of 0
    extrinsics = scales.normalised("extrinsics", shape.gaussians.vectors())
    intrinsics = scales.normalised("intrinsics", shape.intrinsics)
    total = steps * (1 if salad.single else 2)

    def run(denoiser: SetDenoiser, x0: Tensor, given: Tensor | None, before: int) -> Tensor:
        def seen(step: object) -> None:
            if progress is not None:
                progress(before + 1 + step.index * steps // step.total, total)  # type: ignore[attr-defined]

        return _sample(denoiser, x0, keep, sentence, given, generator, cfg_scale, steps, strength, seen)

    if salad.single:
        size = extrinsics.shape[-1]
        both = run(salad.both, torch.cat([extrinsics, intrinsics], -1), None, 0)
        extrinsics, intrinsics = both.split((size, both.shape[-1] - size), -1)
        made = PartGaussians.from_vectors(scales.restored("extrinsics", extrinsics))
    else:
        extrinsics = run(salad.extrinsics, extrinsics, None, 0)
        made = PartGaussians.from_vectors(scales.restored("extrinsics", extrinsics))
        # As what they can be, for the second phase never saw else.
        given = scales.normalised("extrinsics", made.vectors(centred=False))
        intrinsics = run(salad.intrinsics, intrinsics, given, steps)
    made = replace(made, logits=made.logits + level)
    # What is kept was scaled and scaled back, which rounds: take it from where it came.
    gaussians = PartGaussians(
        *(
            torch.where(replaced.reshape(-1, *[1] * (new.ndim - 2)), new, old)
            for new, old in zip(vars(made).values(), vars(shape.gaussians).values(), strict=True)
        )
    )
    inner = torch.where(replaced[:, None], scales.restored("intrinsics", intrinsics), shape.intrinsics)
    return Parts(gaussians, inner)


def _sample(
    denoiser: SetDenoiser,
    x0: Tensor,
    keep: Tensor,
    sentence: list[str],
    given: Tensor | None,
    generator: Randomness,
    cfg_scale: float,
    steps: int,
    strength: float,
    callback: Callback,
) -> Tensor:
    """One phase: x_0 [B, P, C] with the rows that `keep` [P, 1] does not keep drawn anew."""
    schedule = salad_schedule()
    denoise = guided_noise(denoiser, sentence, given, cfg_scale, keep[:, 0])
    times = timesteps(steps, "trailing", len(schedule))

    def clean(x_s: Tensor, s: Tensor) -> Tensor:
        return torch.where(keep, x0, x_s)

    if strength < 1:
        times = started_at(times, round(strength * len(schedule)) - 1)
    if len(times) < 2:
        return x0
    noise = standard_normal(x0, generator)
    start = times[0]
    x = clean(noise if strength == 1 else schedule.add_noise(x0, noise, torch.tensor(start)), torch.tensor(start))
    return ddpm(schedule, denoise, x, times, generator=generator, callback=callback, constrain=clean)


def guided_noise(
    denoiser: SetDenoiser, sentence: list[str], given: Tensor | None, cfg_scale: float, keep: Tensor
) -> Denoiser:
    """The denoiser under a sentence with classifier-free guidance, both branches as one batch; `keep` [P] is clean."""
    schedule = salad_schedule()

    def denoise(x_t: Tensor, t: Tensor) -> Prediction:
        alpha, sigma = schedule.at(t, x_t)
        known = keep.expand(len(x_t), -1)
        if not sentence or cfg_scale == 1:
            noise = denoiser(x_t, t, [sentence] * len(x_t), given, known)
        else:
            twice = None if given is None else torch.cat([given, given])
            sentences = [sentence] * len(x_t) + [[]] * len(x_t)
            both = denoiser(torch.cat([x_t, x_t]), torch.cat([t, t]), sentences, twice, torch.cat([known, known]))
            told, untold = both.chunk(2)
            noise = untold + cfg_scale * (told - untold)
        return Prediction.of("noise", noise, x_t, alpha, sigma)

    return denoise


def _blank(salad: Salad, count: int, parts: int) -> Parts:
    """Shapes that say nothing, to be replaced whole."""
    mean = salad.scales.restored("extrinsics", torch.zeros(count, parts, SIZE))
    inner = salad.scales.restored("intrinsics", torch.zeros(count, parts, salad.sizes.intrinsics))
    return Parts(PartGaussians.from_vectors(mean), inner)


def _repeated(shape: Parts, count: int) -> Parts:
    """One shape, `count` times."""
    if count < 1:
        raise UserError(f"at least one shape is made (got {count})")
    batch = shape.batch()
    gaussians = PartGaussians(*(v.expand(count, *v.shape[1:]) for v in vars(batch.gaussians).values()))
    return Parts(gaussians, batch.intrinsics.expand(count, -1, -1))
