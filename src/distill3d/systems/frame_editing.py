"""Pictures of a scene edited by a 2D prior, one batch of views at a time: what iterative dataset update refits to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.component import Config
from distill3d.core.errors import UserError
from distill3d.core.ramp import NumberRampField, Ramp, RampField
from distill3d.core.rendering import Rendering
from distill3d.diffusion.condition import Condition
from distill3d.diffusion.hint import Hint
from distill3d.diffusion.instruct import instructed
from distill3d.diffusion.prior import Prior
from distill3d.diffusion.sdedit import edit
from distill3d.guidance.pictures import shown
from distill3d.guidance.view_hints import hint_picture
from distill3d.guidance.view_prompts import view_prompts


class FrameEditConfig(Config):
    """How a frame is edited. `by`: `instruction` (Instruct-NeRF2NeRF: the prompt is one, and the prior sees the
    original frame), `sdedit` (the prompt says what the scene should be), or `control` (the same under a ControlNet of
    depth, the prior's first). `noise`: [low, high] shares of the schedule, a ramp over steps, of which each edit draws
    the level that the present picture is noised to. `cfg_scale` of the text, `image_scale` of the original frame (for
    instructions), ramps. `sampler_steps` of the whole schedule. `control_weight`: how strongly depth counts."""

    by: Literal["instruction", "sdedit", "control"] = "instruction"
    noise: RampField = Ramp([0.02, 0.98])
    cfg_scale: NumberRampField = Ramp(7.5)
    image_scale: NumberRampField = Ramp(1.5)
    sampler_steps: int = Field(20, ge=1, le=1000)
    control_weight: float = Field(1.0, ge=0)

    @field_validator("noise")
    @classmethod
    def _shares(cls, ramp: Ramp) -> Ramp:
        for value in ramp.values:
            if not isinstance(value, (list, tuple)) or len(value) != 2 or not 0 <= value[0] <= value[1] <= 1:
                raise ValueError("noise is two shares of the schedule, 0 <= low <= high <= 1")
        return ramp


def check_prior(prior: Prior, by: str, model: Any) -> None:
    """Whether a prior can edit frames in this way.

    Raises:
        UserError: it takes no instructions, or nothing else; or it has no ControlNet.
    """
    if by == "instruction" and not prior.sees_image:
        raise UserError(f"the prior {model!r} takes no instruction: prior.model=toybox-instruct and ip2p do")
    if by != "instruction" and prior.sees_image:
        raise UserError(f"the prior {model!r} takes instructions alone: use --method in2n, or another prior")
    if by == "control" and not len(getattr(prior, "controls", ())):
        raise UserError(f"the prior {model!r} has no ControlNet: say prior.control.0.model=toybox-depth or another")


def edited_frames(
    prior: Prior,
    config: FrameEditConfig,
    prompt: str,
    now: Rendering,
    original: Rendering,
    cameras: Cameras,
    light: Tensor | None,
    step: int,
    generator: torch.Generator,
    negative: str = "",
) -> Tensor:
    """The present pictures of B views, noised and denoised into edited ones (Haque et al. 2023, section 4.2).

    Args:
        prompt: the instruction, or what the scene should be.
        now, original: the views as they are, and as they were before any edit.
        light: how strongly they are shaded, [B], or None for plain colour.
        step: of the run, for ramps.
        generator: of the noise and its level, which all B share.
        negative: what not to show.
    Returns:
        [B, R, R, C] in 0..1 at the prior's resolution.
    """
    pictures = shown(now, prior).detach()
    told: dict[str, Any] = {}
    if config.by == "instruction":
        told = {"image": shown(original, prior).detach()}
    elif config.by == "control":
        told = {"control": Hint(hint_picture("depth", now, cameras, prior).detach(), config.control_weight)}
    if prior.sees_cameras:
        condition = prior.condition(prompt, cameras, light, negative, **told)
    else:
        plain = config.by == "instruction"  # "make it blue, front view" is no instruction
        texts = [prompt] * len(cameras) if plain else view_prompts(prompt, cameras)
        condition = prior.condition(texts, negative=negative, **told)
    conditions: Condition | Sequence[Condition] = condition
    scales: float | list[float] = config.cfg_scale.at(step)
    if config.by == "instruction":
        conditions, scales = instructed(condition, config.cfg_scale.at(step), config.image_scale.at(step))
    low, high = config.noise.at(step)
    drawn = torch.rand((), generator=generator, device=generator.device, dtype=torch.float64)
    level = low + (high - low) * float(drawn)
    return edit(prior, pictures, conditions, level, config.sampler_steps, scales, generator=generator)
