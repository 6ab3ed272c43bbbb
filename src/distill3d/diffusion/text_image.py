"""Encoders that put pictures and texts into one space, behind one door.

Pictures come in as renderers make them, of any size; the encoder sees them at its own size, with its own normalisation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import distill3d
from distill3d.core.errors import UserError
from distill3d.diffusion.conv_clip import MODEL_TYPE, ConvClip
from distill3d.diffusion.folder import aligned
from distill3d.diffusion.weight_files import PICKLES, check_safetensors, read_json

TOYBOX = "toybox"
OPEN_CLIP = "open_clip_config.json"  # the file by which a folder says that it is OpenCLIP's
OPEN_CLIP_WEIGHTS = "open_clip_model.safetensors"
# What CLIP was trained with, for folders that do not say (Radford et al. 2021, in their code).
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class TextImageEncoder(ABC):
    """Pictures and texts to unit vectors of one space.

    Args:
        size: side of the pictures that the network sees, in pixels.
        mean, std: of the colours that it was trained on, three each.
    """

    def __init__(self, size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        self.size = size
        self.mean, self.std = (torch.tensor(list(v), dtype=torch.float32)[:, None, None] for v in (mean, std))

    def pictures(self, images: Tensor) -> Tensor:
        """Pictures [B, H, W, 3] in 0..1 to [B, D]; differentiable with respect to the pictures."""
        pixels = images.permute(0, 3, 1, 2)
        if pixels.shape[-2:] != (self.size, self.size):
            pixels = F.interpolate(pixels, (self.size, self.size), mode="bilinear", antialias=True)
        normal = (pixels - self.mean.to(pixels)) / self.std.to(pixels)
        return F.normalize(self._see(normal).float(), dim=1)

    @torch.no_grad()
    def texts(self, prompts: Sequence[str]) -> Tensor:
        """[N, D] without a graph. A text that is too long is cut."""
        return F.normalize(self._hear(list(prompts)).float(), dim=1)

    @abstractmethod
    def _see(self, pixels: Tensor) -> Tensor:
        """Normalised pictures [B, 3, size, size] to [B, D]."""

    @abstractmethod
    def _hear(self, prompts: list[str]) -> Tensor:
        """[N, D]."""


class EmbeddedClip(TextImageEncoder):
    """A folder that `distill3d toybox train-clip` has written; see `check`."""

    def __init__(self, folder: Path, device: torch.device | str = "cpu") -> None:
        from transformers import PreTrainedTokenizerFast

        self.model = ConvClip.load(folder).to(device)
        try:
            self.tokenizer = PreTrainedTokenizerFast.from_pretrained(str(folder), local_files_only=True)
        except Exception as error:  # the tokenizers library raises plain Exception
            raise UserError(f"{folder}: its tokenizer cannot be loaded: {error}") from error
        super().__init__(self.model.shape.size, (0.5,) * 3, (0.5,) * 3)

    def _see(self, pixels: Tensor) -> Tensor:
        return self.model.see(pixels)

    def _hear(self, prompts: list[str]) -> Tensor:
        padded = self.tokenizer(prompts, padding="max_length", max_length=self.model.shape.tokens, truncation=True)[
            "input_ids"
        ]
        return self.model.hear(torch.tensor(padded, device=self.model.logit_scale.device))


class TransformersClip(TextImageEncoder):
    """A folder that transformers' CLIPModel opens, of toy or of any other width; see `check`."""

    def __init__(self, folder: Path, device: torch.device | str = "cpu") -> None:
        import transformers  # takes seconds

        try:
            model, found = transformers.CLIPModel.from_pretrained(
                str(folder), local_files_only=True, use_safetensors=True, output_loading_info=True, dtype=torch.float32
            )
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        except Exception as error:  # whatever the files make the library stumble over
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"{folder} cannot be loaded as a CLIP: {reason}") from error
        missing = [*sorted(found["missing_keys"]), *(m[0] for m in found["mismatched_keys"])]
        if missing:
            raise UserError(f"{folder}: weights do not fit config.json, {missing[0]!r} is missing or misshapen")
        self.model: Any = aligned(model).to(device).eval().requires_grad_(False)
        shown = folder / "preprocessor_config.json"
        said = read_json(shown) if shown.is_file() else {}
        size = self.model.config.vision_config.image_size
        super().__init__(size, said.get("image_mean", MEAN), said.get("image_std", STD))

    def _see(self, pixels: Tensor) -> Tensor:
        return self.model.visual_projection(self.model.vision_model(pixel_values=pixels).pooler_output)

    def _hear(self, prompts: list[str]) -> Tensor:
        longest = self.model.config.text_config.max_position_embeddings
        padded = self.tokenizer(prompts, padding="max_length", max_length=longest, truncation=True)
        ids = torch.tensor(padded["input_ids"], device=self.model.device)
        return self.model.text_projection(self.model.text_model(input_ids=ids).pooler_output)


def check(model: str | Path, key: str = "model") -> Path:
    """The folder that a name stands for, its files there and whole; nothing is loaded.

    Args:
        model: "toybox" for the embedded encoder, or a folder: a transformers CLIP, or a model of OpenCLIP.
        key: the config's key, for messages.
    Raises:
        UserError: no such folder, none of the two layouts, weights that are missing, truncated or a pickle.
    """
    folder = Path(distill3d.__file__).parent / "toybox" / "clip_weights" if model == TOYBOX else Path(model)
    folder = folder.expanduser()
    if not folder.is_dir():
        raise UserError(f"{key} {str(model)!r} is neither {TOYBOX!r} nor a folder with a CLIP in it")
    if (folder / OPEN_CLIP).is_file():
        config, file = read_json(folder / OPEN_CLIP), folder / OPEN_CLIP_WEIGHTS
        if not isinstance(config.get("model_cfg"), dict):
            raise UserError(f"{folder / OPEN_CLIP} has no model_cfg")
    else:
        config, file = read_json(folder / "config.json"), folder / "model.safetensors"
        if config.get("model_type") not in ("clip", MODEL_TYPE):
            raise UserError(f"{folder / 'config.json'} describes a {config.get('model_type')!r}, where 'clip' is asked")
    pickled = sorted(f.name for f in folder.iterdir() if f.suffix in PICKLES)
    if pickled and not file.is_file():
        raise UserError(
            f"{folder} holds pickled weights only ({pickled[0]}), which can run code; convert them to {file.name}"
        )
    check_safetensors(file)
    return folder


def load_text_image(model: str | Path, device: torch.device | str = "cpu", key: str = "model") -> TextImageEncoder:
    """The encoder that a name stands for, frozen; see `check`.

    Raises:
        UserError: as `check`, or the weights do not fit, or OpenCLIP's package is not installed.
    """
    folder = check(model, key)
    if (folder / OPEN_CLIP).is_file():
        from distill3d.diffusion.open_clip import OpenClip

        return OpenClip(folder, device)
    embedded = read_json(folder / "config.json")["model_type"] == MODEL_TYPE
    return EmbeddedClip(folder, device) if embedded else TransformersClip(folder, device)
