"""Encoders of OpenCLIP (Ilharco et al. 2021), where the package open_clip_torch is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.diffusion.folder import aligned
from distill3d.diffusion.text_image import MEAN, OPEN_CLIP, OPEN_CLIP_WEIGHTS, STD, TextImageEncoder
from distill3d.diffusion.weight_files import read_json


class OpenClip(TextImageEncoder):
    """A folder as OpenCLIP publishes its models: open_clip_config.json, weights in safetensors, a tokenizer where the
    model has one of its own. `text_image.check` has looked at it.

    Raises:
        UserError: the package is not installed, or is too old, or the weights do not fit the config.
    """

    def __init__(self, folder: Path, device: torch.device | str = "cpu") -> None:
        try:
            import open_clip
        except ImportError as error:
            need = "pip install 'open_clip_torch>=3'"
            raise UserError(f"{folder} is a model of OpenCLIP, and its package is not here: {need}") from error
        config = read_json(folder / OPEN_CLIP)
        name = f"local-dir:{folder}"
        try:
            # The weights are read here and not by the library, which would take a pickle as well.
            self.model: Any = open_clip.create_model(name, load_weights=False, pretrained_text=False)
            self.model.load_state_dict(load_file(folder / OPEN_CLIP_WEIGHTS))
            self.tokenizer: Any = open_clip.get_tokenizer(name)
        except Exception as error:  # whatever the files make the library stumble over
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"{folder} cannot be loaded by open_clip {open_clip.__version__}: {reason}") from error
        self.model = aligned(self.model).to(device).eval().requires_grad_(False)
        self.device = device
        shown = config.get("preprocess_cfg") or {}
        size = config["model_cfg"].get("vision_cfg", {}).get("image_size", 224)
        super().__init__(size, shown.get("mean", MEAN), shown.get("std", STD))

    def _see(self, pixels: Tensor) -> Tensor:
        return self.model.encode_image(pixels)

    def _hear(self, prompts: list[str]) -> Tensor:
        return self.model.encode_text(self.tokenizer(prompts).to(self.device))
