"""What a config can say about a checkpoint beside its name."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from distill3d.core.component import Config

DtypeName = Literal["auto", "float32", "float16", "bfloat16"]


class LoraConfig(Config):
    """`file`: a .safetensors file, a folder with one of diffusers' name, or OWNER/NAME[/FILE] on the hub; `scale`
    multiplies its change."""

    file: str
    scale: float = 1.0


class ControlConfig(Config):
    """`model`: toybox-depth, toybox-edge (embedded), a ControlNet's folder or hub id; `weight` multiplies it; `layers`:
    a further weight for each of its layers from the finest to the middle, or "decay" for 0.825 to the power of the
    distance from the middle."""

    model: str
    weight: float = Field(1.0, ge=0)
    layers: Literal["all", "decay"] | tuple[float, ...] = "all"


class MicroConfig(Config):
    """What SDXL is told of a picture, in pixels (Podell et al. 2024, section 2.2): the size it had before it was
    scaled, and where it was cropped, both as (height, width) and (top, left). No size is the prior's own."""

    original: tuple[int, int] | None = None
    crop: tuple[int, int] = (0, 0)

    def numbers(self, resolution: int) -> list[float]:
        """Original size, crop and target size: six numbers."""
        return [float(n) for n in (*(self.original or (resolution, resolution)), *self.crop, resolution, resolution)]


def chosen_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype of the networks; auto is float16 on CUDA and float32 elsewhere."""
    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    return getattr(torch, name)
