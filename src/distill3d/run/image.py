"""Pictures sampled from a prior, on disk: `distill3d image generate`; and what the other verbs share with it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.component import nearest, validated
from distill3d.core.errors import UserError
from distill3d.diffusion.classifier_guidance import classifier_guided
from distill3d.diffusion.condition import Condition
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.sampling import SAMPLERS, Callback, Denoiser, sample
from distill3d.diffusion.text_encoders import LONGEST_PROMPT
from distill3d.run.backend import choose_device, reproducible
from distill3d.run.image_files import check_out, straight, write_grid
from distill3d.run.progress import Progress
from distill3d.toybox.noisy_judge import CELLS, CHANNELS, TIMES, NoisyJudge

VIEWS = {  # azimuth and elevation in degrees; the object's own left is at +90
    "front": (0.0, 15.0),
    "back": (180.0, 15.0),
    "left": (90.0, 15.0),
    "right": (-90.0, 15.0),
    "top": (0.0, 60.0),
}
LIMITS = {
    "--n": (1, 256),
    "--steps": (1, 1000),
    "--cfg": (0.0, 1000.0),
    "--seed": (0, 2**63 - 257),
    "--scale": (0.0, 100.0),
    "--classifier-scale": (0.0, 100.0),
}


@dataclass(frozen=True)
class Asked:
    """What every verb is asked for.

    Args:
        prompt, negative: what to show, and what not. view_name: see `view`; None lets the prior choose.
        count: pictures, each of a seed of its own: seed, seed + 1 ... steps: of the sampler. cfg_scale: 1 is none.
        model: a prior. control: ControlNets of it, as a config's `prior.control` has them.
    """

    prompt: str
    negative: str = ""
    view_name: str | None = None
    count: int = 1
    steps: int = 50
    cfg_scale: float = 3.0
    seed: int = 0
    model: str = "toybox"
    control: Sequence[dict[str, Any]] = ()

    def check(self) -> None:
        """Before any work.

        Raises:
            UserError: a prompt that is empty or far too long, an unknown view, or a number out of range.
        """
        check_prompt(self.prompt)
        if self.negative:
            check_prompt(self.negative, "the prompt of --negative")
        values = [("--n", self.count), ("--steps", self.steps), ("--cfg", self.cfg_scale), ("--seed", self.seed)]
        for name, value in (*values, *(("--scale", section.get("weight", 1.0)) for section in self.control)):
            low, high = LIMITS[name]
            if not low <= value <= high:
                raise UserError(f"{name} is {low:g} to {high:g} (got {value:g})")
        if self.view_name is not None:
            view(self.view_name, 1)

    def generators(self) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(self.seed + i) for i in range(self.count)]

    def condition(self, prior: DiffusionPrior, **more: Any) -> Condition:
        """For one picture."""
        cameras = None if self.view_name is None else view(self.view_name, 1).to(prior.device)
        return prior.condition(self.prompt, cameras, negative=self.negative, **more)


def check_prompt(prompt: str, what: str = "the prompt") -> None:
    """Refuses what no prior takes, before one is loaded.

    Raises:
        UserError: it is empty, or nobody meant it as a prompt.
    """
    if not prompt.strip():
        raise UserError(f"{what} is empty")
    if len(prompt) > LONGEST_PROMPT:
        raise UserError(f"{what} has {len(prompt)} characters; {LONGEST_PROMPT} are the most")


@contextmanager
def opened(asked: Asked, progress: Progress, also: str = "") -> Iterator[DiffusionPrior]:
    """The prior, loaded, under reproducible settings and without gradients; says what it will not hear of the prompts.

    Args:
        also: another prompt that it will be told.
    Raises:
        UserError: an unknown model, or a view or a number of steps that it cannot take.
    """
    device = choose_device("auto")
    config = validated(DiffusionPrior.Config, {"model": asked.model, "control": list(asked.control)}, "prior")
    DiffusionPrior.examine(config)
    with reproducible("auto"), torch.no_grad():
        with progress.spinner("loading the prior"):
            prior = DiffusionPrior(config, device=device)
        if asked.view_name is not None and not prior.sees_cameras:
            raise UserError(f"the prior {asked.model!r} takes no camera; say the view in the prompt instead of --view")
        if asked.steps > len(prior.schedule):
            raise UserError(f"--steps is 1 to {len(prior.schedule)} for the prior {asked.model!r} (got {asked.steps})")
        prompts = [prompt for prompt in (asked.prompt, asked.negative, also) if prompt]
        unknown = dict.fromkeys(word for prompt in prompts for word in prior.unknown_words(prompt))
        if unknown:
            progress(f"words that the prior has never met, and will not hear: {_short(', '.join(unknown))}")
        for unheard in filter(None, map(prior.unheard, prompts)):
            progress(f"the prompt is too long for the prior, which will not hear: {_short(unheard)}")
        yield prior


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]} ..."


@contextmanager
def counted(progress: Progress, total: int) -> Iterator[Callback]:
    """A callback for samplers that moves a bar of `total` steps, over as many walks as there are."""
    done = 0

    def callback(step: object) -> None:
        nonlocal done
        done += 1
        progress.update(done, {})

    with progress.steps(total, first="sampling"):
        yield callback


def each(asked: Asked, progress: Progress, calls: int, make: Callable[[torch.Generator, Callback], Tensor]) -> Tensor:
    """`make` for every seed, [count, H, W, C] in 0..1; picture i is the same whatever `count` is.

    Args:
        calls: of the callback, for each picture.
    Raises:
        UserError: a picture has numbers that are not finite, as weights with such numbers make them.
    """
    with counted(progress, calls * asked.count) as callback:
        pictures = torch.cat([make(generator, callback).cpu() for generator in asked.generators()])
    if not pictures.isfinite().all():
        raise UserError(f"the prior {asked.model!r} made numbers that are not finite; are its weights damaged?")
    return pictures


def view(text: str, count: int) -> Cameras:
    """`count` equal cameras for a view's name, or for "AZIMUTH,ELEVATION" in degrees.

    Raises:
        UserError: neither of the two.
    """
    number = r"-?\d+(?:\.\d+)?"
    match = re.fullmatch(rf"({number}),({number})", text.replace(" ", ""))
    if text in VIEWS:
        azimuth, elevation = VIEWS[text]
    elif match and abs(float(match[2])) < 90:
        azimuth, elevation = float(match[1]), float(match[2])
    else:
        raise UserError(f"unknown view {text!r}{nearest(text, VIEWS)}, or AZIMUTH,ELEVATION in degrees")
    return Cameras.orbit(torch.full((count,), math.radians(azimuth)), math.radians(elevation))


def steering(prompt: str, scale: float, prior: DiffusionPrior) -> Callable[[Denoiser], Denoiser] | None:
    """Guidance by the toybox's classifier of noisy pictures, beside the prior's own; None for scale 0.

    Raises:
        UserError: a prompt that the classifier does not know, or a prior of other pictures.
    """
    if scale == 0:
        return None
    if prior.x_shape(1) != (1, CHANNELS, CELLS, CELLS) or len(prior.schedule) != TIMES or prior.channels != 4:
        raise UserError("--classifier-scale is for the embedded prior: the classifier knows its pictures alone")
    classifier, label = NoisyJudge.load().to(prior.device).towards(prompt)
    labels = torch.tensor([label], device=prior.device)
    return lambda denoise: classifier_guided(denoise, classifier, labels, scale)


def generate(
    asked: Asked,
    out: str | Path,
    sampler: str = "ddim",
    progress: Progress | None = None,
    classifier_scale: float = 0.0,
) -> Path:
    """Samples pictures and writes them as one PNG with straight alpha, side by side in rows of at most four.

    Args:
        sampler: a key of `diffusion.sampling.SAMPLERS`.
        progress: who shows it; nobody by default.
        classifier_scale: of classifier guidance towards what the prompt names, for the embedded prior; 0 is none.
    Raises:
        UserError: anything that the caller can put right, before any work where that can be known.
    """
    path = check_out(out)
    asked.check()
    low, high = LIMITS["--classifier-scale"]
    if not low <= classifier_scale <= high:
        raise UserError(f"--classifier-scale is {low:g} to {high:g} (got {classifier_scale:g})")
    if classifier_scale:
        NoisyJudge.load().towards(asked.prompt)  # refuses what it does not know before the prior is loaded
    if sampler not in SAMPLERS:
        raise UserError(f"unknown sampler {sampler!r}{nearest(sampler, SAMPLERS)}")
    with progress or Progress(quiet=True) as progress, opened(asked, progress) as prior:
        condition = asked.condition(prior)
        if sampler == "flow" and (prior.schedule.alpha + prior.schedule.sigma - 1).abs().max() > 1e-6:
            raise UserError(f"the sampler flow is for rectified flows, which the prior {asked.model!r} is not")
        if sampler == "ddpm-learned" and not prior.says_variance:
            raise UserError(f"the prior {asked.model!r} says no variance, which the sampler ddpm-learned needs")

        steer = steering(asked.prompt, classifier_scale, prior)

        def make(generator: torch.Generator, callback: Callback) -> Tensor:
            options: dict[str, Any] = {"generator": generator, "callback": callback, "sampler": sampler, "steer": steer}
            return sample(prior, condition, asked.steps, asked.cfg_scale, **options)

        pictures = each(asked, progress, asked.steps, make)
    write_grid(straight(pictures, prior.background), path)
    return path
