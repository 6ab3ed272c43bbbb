"""Random cameras, lights and backgrounds of score distillation."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.component import Config
from distill3d.core.errors import UserError
from distill3d.core.ramp import NumberRampField, Ramp


class CameraConfig(Config):
    """Where the random cameras of a step stand; ranges in degrees and world units, uniform.

    `views`: a step; their azimuths are one in each of as many equal sectors. `reach` is half the width that a
    picture shows at the origin (the unit ball fills it at 1), so the distance follows from the field of view:
    reach / tan(fov / 2). `size`: pixels. `together`: views that differ in azimuth alone, by equal angles, as a prior
    that sees several views together wants them.
    """

    views: int = Field(4, ge=1, le=256)
    together: int = Field(1, ge=1, le=16)
    elevation: tuple[float, float] = (-10.0, 45.0)
    fov: tuple[float, float] = (40.0, 70.0)
    reach: tuple[float, float] = (1.05, 1.3)
    size: NumberRampField = Ramp(64)

    @model_validator(mode="after")
    def _ordered(self) -> CameraConfig:
        for name, low, high in (("elevation", -90, 90), ("fov", 1, 170), ("reach", 0.1, 100)):
            a, b = getattr(self, name)
            if not low <= a <= b <= high:
                raise ValueError(f"{name} needs two numbers, {low} <= low <= high <= {high}")
        if self.views % self.together:
            raise ValueError(f"views is a multiple of together (got {self.views} and {self.together})")
        return self


def check_together(config: CameraConfig, together: int) -> None:
    """Whether a step's views suit a prior that denoises `together` of them as one.

    Raises:
        UserError: they do not.
    """
    if config.together != together:
        raise UserError(f"cameras.together is {config.together}, where the prior denoises {together} views together")


class LightConfig(Config):
    """How the views of a step are lit (DreamFusion, section 3.1): plain colour until `albedo_until` (a step), then
    `shaded` of the steps by a light at the camera, and of those `textureless` without the colour."""

    albedo_until: int = Field(0, ge=0)
    shaded: float = Field(0.5, ge=0, le=1)
    textureless: float = Field(0.0, ge=0, le=1)


class BackgroundConfig(Config):
    """What stands behind the object: `random` one colour a view, `renderer` the renderer's own, or `gray`."""

    kind: Literal["random", "renderer", "gray"] = "random"


def drawn(generator: torch.Generator, *shape: int) -> Tensor:
    """Numbers in 0..1, on the CPU, whatever device the run's generator is on."""
    return torch.rand(*shape, generator=generator, device=generator.device).cpu()


def uniform(generator: torch.Generator, count: int, low: float, high: float) -> Tensor:
    return low + (high - low) * drawn(generator, count)


def random_cameras(config: CameraConfig, step: int, generator: torch.Generator) -> Cameras:
    """The cameras of one step; azimuths stratified, so that every step sees the object from all around.

    Views that stand together follow each other, by equal angles; their first azimuths are stratified in their turn.
    """
    count, together = config.views // config.together, config.together
    azimuth = (torch.arange(count) + drawn(generator, count)) / (count * together) * 2 * math.pi
    azimuth = azimuth + 2 * math.pi * drawn(generator, 1)
    elevation = torch.deg2rad(uniform(generator, count, *config.elevation))
    fov = torch.deg2rad(uniform(generator, count, *config.fov))
    reach = uniform(generator, count, *config.reach)
    azimuth, elevation, fov, reach = (v.repeat_interleave(together) for v in (azimuth, elevation, fov, reach))
    azimuth = azimuth + (torch.arange(together) * (2 * math.pi / together)).repeat(count)
    return Cameras.orbit(azimuth, elevation, reach / (0.5 * fov).tan(), fov, round(config.size.at(step)))


def spread(count: int, wanted: int) -> list[int]:
    """At most `wanted` of `count` indices, evenly, the first among them.

    >>> spread(10, 4)
    [0, 2, 5, 7]
    """
    wanted = min(count, wanted)
    return [k * count // wanted for k in range(wanted)]


def random_light(config: LightConfig, step: int, count: int, generator: torch.Generator) -> tuple[Tensor | None, bool]:
    """The light of one step: strength [count] or None for plain colour, and whether colour is left out."""
    draw, plain = drawn(generator, 2).tolist()
    if step < config.albedo_until or draw >= config.shaded:
        return None, False
    return torch.ones(count), plain < config.textureless


def random_background(config: BackgroundConfig, count: int, generator: torch.Generator) -> Tensor | None:
    """[count, 3] colours, or None for the renderer's own."""
    if config.kind == "renderer":
        return None
    return drawn(generator, count, 3) if config.kind == "random" else torch.full((count, 3), 0.5)
