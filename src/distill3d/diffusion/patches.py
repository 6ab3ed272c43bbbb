"""Pictures to the space of a pixel prior and back, without loss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from distill3d.core.errors import UserError


class PatchCodec:
    """Patches of p x p pixels become channels ("space to depth"); values 0..1 become -1..1.

    Four channels are RGBA: the colour composited over a grey `background`, and the coverage.

    Args:
        patch_size: p, pixels.
        channels: of the picture, 3 or 4.
        background: grey level 0..1 that colour is composited over; None where the picture has no alpha.
    """

    clip_range: tuple[float, float] | None = (-1.0, 1.0)

    def __init__(self, patch_size: int = 1, channels: int = 3, background: float | None = None) -> None:
        self.patch_size, self.channels, self.background = (patch_size, channels, background)

    @property
    def scale(self) -> int:
        """Pixels a cell of the prior's space, along one side."""
        return self.patch_size

    def encode(self, images: Tensor, generator: Any = None) -> Tensor:
        """[B, H, W, C] in 0..1 to [B, C p p, H / p, W / p] in -1..1. The generator is not used."""
        return F.pixel_unshuffle(2 * images.permute(0, 3, 1, 2) - 1, self.patch_size)

    def decode(self, x: Tensor) -> Tensor:
        """[B, C p p, h, w] to [B, h p, w p, C]; not clamped."""
        return (F.pixel_shuffle(x, self.patch_size).permute(0, 2, 3, 1) + 1) / 2

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` as a component of a folder in diffusers layout."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        config = {
            "_class_name": "PatchCodec",
            "patch_size": self.patch_size,
            "channels": self.channels,
            "background": self.background,
        }
        (Path(folder) / "config.json").write_text(json.dumps(config, indent=2) + "\n")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PatchCodec:
        """From the content of `config.json`.

        Raises:
            UserError: without a patch size or a number of channels.
        """
        for key in ("patch_size", "channels"):
            if not isinstance(config.get(key), int):
                raise UserError(f"the prior's patches/config.json needs {key}, a whole number")
        background = config.get("background")
        return cls(
            int(config["patch_size"]), int(config["channels"]), None if background is None else float(background)
        )
