"""A picture becomes a scene: its own view fitted to it, all others judged by a prior that knows the picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.component import Config
from distill3d.core.ramp import NumberRampField, Ramp
from distill3d.diffusion.prior import Prior
from distill3d.files.cutout import cut_out, recentred
from distill3d.files.picture_reading import read_picture
from distill3d.guidance import Guidance
from distill3d.guidance.zero123 import Zero123SDS
from distill3d.renderers import Renderer
from distill3d.systems.base import SystemConfig
from distill3d.systems.text_to_3d import DistillationConfig, TextTo3D
from distill3d.toybox.elevation import read_elevation


class ReferenceConfig(Config):
    """How the picture's own view is fitted: weights of the squared errors of its colour where the object is, and of
    its coverage, ramps over steps; `size` of that view in pixels; `fill`: share of it that the object's longer side
    takes; `light`: how much of the shading in it comes from beside the camera, 0 where it is to stay in the colours."""

    rgb: NumberRampField = Ramp(1.0)
    mask: NumberRampField = Ramp(1.0)
    size: int = Field(64, ge=16, le=1024)
    fill: float = Field(0.75, gt=0.1, le=1)
    light: float = Field(0.0, ge=0, le=1)


class ImageTo3D(TextTo3D):
    """A picture to 3D (Zero-1-to-3, Liu et al. 2023): the reference view fitted, the others distilled.

    Raises:
        UserError: the picture cannot be read, or no object be cut out of it.
    """

    kind: ClassVar[str] = "image_to_3d"
    sections: ClassVar[dict[str, Any]] = {"prior": Prior, "renderer": Renderer, "guidance": Guidance}

    class Config(DistillationConfig, SystemConfig):
        """`image`: the file. `elevation`: of the camera that took it, in degrees above the horizontal; its azimuth
        is 0, the front; "auto" reads it off the picture, with an error of some degrees on things like the toybox's
        (docs/image-to-3d.md). `prompt`: what it shows, for priors that hear that. Its lens and distance are the middle
        of `cameras.fov` and `cameras.reach`."""

        image: str
        elevation: Annotated[float, Field(gt=-90, lt=90)] | Literal["auto"] = 5.0
        prior: dict[str, Any] = {"kind": "zero123", "model": "???"}
        guidance: list[dict[str, Any]] = [{"kind": "zero123"}]
        reference: ReferenceConfig = ReferenceConfig()
        prompt: str = ""
        negative_prompt: str = ""

        @property
        def subject(self) -> str | None:
            return Path(self.image).stem

    def __init__(self, config: Any, device: torch.device, generator: torch.Generator, **more: Any) -> None:
        picture = read_picture(Path(config.image).expanduser())
        square = recentred(cut_out(picture, config.image), config.reference.size, config.reference.fill)
        self.picture = torch.from_numpy(square).to(device)
        self.elevation = elevation_of(config, self.picture)
        self.camera = reference_camera(config, self.elevation).to(device)
        super().__init__(config, device, generator, **more)
        for guidance in self.guidance:
            if isinstance(guidance, Zero123SDS):  # a prior may have things of another size, in another place
                self.camera = guidance.reference.camera

    def told(self, section: dict[str, Any]) -> dict[str, Any]:
        turns = issubclass(Guidance.find(section["kind"]), Zero123SDS)
        light = self.config.reference.light
        return {"picture": self.picture, "reference": self.camera, "light": light} if turns else {}

    def notices(self) -> list[str]:
        covered = 100 * float((self.picture[..., 3] > 0.5).float().mean())
        told = [f"cut out of {self.config.image}: {covered:.0f} % of the recentred view; the first preview shows it"]
        if self.config.elevation == "auto":
            told.append(
                f"elevation read off the picture: {self.elevation:.0f} degrees; elevation=DEGREES says it better"
            )
        for guidance in self.guidance:
            sight = guidance.reference.sight if isinstance(guidance, Zero123SDS) else None
            if sight is not None:
                told.append(f"taken for {sight.caption}, {side_of(sight.azimuth)}; prompt='a ...' says it better")
        return told

    def losses(self, step: int) -> dict[str, Tensor]:
        return super().losses(step) | self.reference_losses(step)

    def reference_losses(self, step: int) -> dict[str, Tensor]:
        """Squared errors of the picture's own view: of colour within the object, and of coverage."""
        weights = self.config.reference
        light = torch.full((1,), weights.light, device=self.device) if weights.light else None
        rendering = self.renderer(self.camera, background=torch.full((3,), 0.5, device=self.device), light=light)
        alpha = self.picture[..., 3:]
        off = (rendering.extras["foreground"][0] - self.picture[..., :3]).square() * (alpha > 0)
        return {
            "reference_rgb": weights.rgb.at(step) * off.mean(),
            "reference_mask": weights.mask.at(step) * (rendering.alpha[0] - alpha).square().mean(),
        }

    def preview(self, step: int) -> dict[str, np.ndarray]:
        """Four sides of the object; before the first step, also the picture as it was cut out."""
        shown = super().preview(step)
        if step <= 1:
            picture = self.picture[..., :3] + 0.5 * (1 - self.picture[..., 3:])
            shown["picture"] = (picture.clamp(0, 1) * 255).round().byte().cpu().numpy()
        return shown


def side_of(azimuth: float) -> str:
    """In words, from where a camera sees a thing; `azimuth` in radians from its front, positive to the thing's left."""
    degrees = round(math.degrees(azimuth))
    if degrees % 180 == 0:
        return "seen from the front" if degrees % 360 == 0 else "seen from behind"
    return f"seen from {abs(degrees)} degrees off its front, to its {'left' if degrees > 0 else 'right'}"


def elevation_of(config: Any, picture: Tensor) -> float:
    """Degrees: as the config says, or read off the recentred picture [H, W, 4], to half a degree."""
    if config.elevation != "auto":
        return float(config.elevation)
    return round(2 * math.degrees(float(read_elevation(picture[None].cpu())))) / 2


def reference_camera(config: Any, elevation: float) -> Cameras:
    """The camera that took the picture, from `elevation` degrees above the horizontal."""
    fov = math.radians(sum(config.cameras.fov) / 2)
    distance = sum(config.cameras.reach) / 2 / math.tan(fov / 2)
    return Cameras.orbit(0.0, math.radians(elevation), distance, fov, config.reference.size)
