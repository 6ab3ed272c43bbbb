"""The embedded novel-view model before it is trained: the prior, which also sees a picture and hears who took it.

It begins as the prior. The UNet's first layer gets channels for the given picture, and the layers that hear the camera
get places for the camera that took it, with weights of zero.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from huggingface_hub.utils import disable_progress_bars
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from distill3d.core.errors import UserError
from distill3d.diffusion.condition import pooled
from distill3d.diffusion.folder import check_network, load_network, load_tokenizer
from distill3d.diffusion.patches import PatchCodec
from distill3d.diffusion.pixel_novel_view import CAPTIONS
from distill3d.diffusion.view import VIEW_SIZE
from distill3d.toybox.captions import article
from distill3d.toybox.categories import CATEGORIES
from distill3d.toybox.model import (
    Shape,
    make_canvas,
    make_scheduler,
    make_text_encoder,
    make_unet,
    read_shape,
)
from distill3d.toybox.palette import COLORS

_PARTS = {"unet": "UNet2DConditionModel", "canvas": "Canvas", "text": "CLIPTextModel"}
_HEARS_CAMERAS = ("class_embedding.linear_1.weight", "hidden.0.weight")


@dataclass(frozen=True)
class Told:
    """What the denoiser is told of each picture.

    Args:
        tokens: [B, L]. view, given_view: [B, 16], of the camera that is asked for and of the one that took the given
            picture, azimuths counted from the toy's front; zeros where none is told.
        given: [B, C, h, w], the given picture; zeros where there is none.
    """

    tokens: Tensor
    view: Tensor
    given_view: Tensor
    given: Tensor


class ViewDenoiser(nn.Module):
    """UNet, canvas and text encoder together."""

    def __init__(self, shape: Shape, vocabulary: int) -> None:
        super().__init__()
        labels = 2 * VIEW_SIZE + shape.text_width
        self.unet, self.canvas = make_unet(shape, labels), make_canvas(shape, labels)
        self.text = make_text_encoder(shape, vocabulary)

    def forward(self, x_t: Tensor, t: Tensor, told: Told) -> tuple[Tensor, Tensor]:
        """x_t [B, C, h, w] and t [B] to x_0 and the mean picture, [B, C, h, w] each."""
        words = self.text(input_ids=told.tokens).last_hidden_state
        labels = torch.cat([told.view, told.given_view, pooled(words)], -1)
        mean = self.canvas(labels)
        seen = torch.cat([x_t, mean.detach(), told.given], 1).contiguous(memory_format=torch.channels_last)
        return self.unet(seen, t, encoder_hidden_states=words, class_labels=labels).sample, mean


def begin(folder: Path) -> tuple[Shape, ViewDenoiser, PreTrainedTokenizerFast]:
    """The prior in `folder`, which does not yet listen to a given picture, and its tokenizer.

    Raises:
        UserError: the folder holds no embedded prior, or one of another shape.
    """
    shape = read_shape(folder)
    if shape.sees_picture:
        raise UserError(f"{folder} sees a picture already: begin with the prior, or go on with --resume")
    shape = replace(shape, sees_picture=True)
    tokenizer = load_tokenizer(folder, "PreTrainedTokenizerFast")
    denoiser = ViewDenoiser(shape, len(tokenizer))
    state = denoiser.state_dict()
    for part, class_name in _PARTS.items():
        name = "text_encoder" if part == "text" else part
        check_network(folder / name, class_name)
        for key, value in load_network(folder, name, class_name, torch.float32).state_dict().items():
            mine = state[f"{part}.{key}"]
            if key == "conv_in.weight":  # noisy picture and canvas; what is beside them comes last
                mine.zero_()
                mine[:, : value.shape[1]] = value
            elif key in _HEARS_CAMERAS:  # the other camera, the given picture's, stands between camera and text
                mine.zero_()
                mine[:, :VIEW_SIZE], mine[:, 2 * VIEW_SIZE :] = value[:, :VIEW_SIZE], value[:, VIEW_SIZE:]
            elif mine.shape == value.shape:
                mine.copy_(value)
            else:
                raise UserError(f"{folder / name} does not fit its own config: {key} has another shape")
    denoiser.load_state_dict(state)
    return shape, denoiser, tokenizer


def save_folder(folder: Path, shape: Shape, denoiser: ViewDenoiser, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write the model as a folder in diffusers layout, weights in half precision, at most 16 MB a file."""
    half = ViewDenoiser(shape, len(tokenizer)).half()
    half.load_state_dict({k: v.detach().cpu().half() for k, v in denoiser.state_dict().items()})
    folder.mkdir(parents=True, exist_ok=True)
    disable_progress_bars()  # of the hub's library, which shows one for each file
    half.unet.save_pretrained(folder / "unet", max_shard_size="16MB")
    half.canvas.save_pretrained(folder / "canvas")
    half.text.save_pretrained(folder / "text_encoder", max_shard_size="16MB")
    tokenizer.save_pretrained(folder / "tokenizer")
    make_scheduler().save_pretrained(folder / "scheduler")
    PatchCodec(shape.patch, 4, 0.5).save_pretrained(folder / "patches")
    captions = [f"{article(color)} {color} {kind}" for kind in CATEGORIES for color in COLORS]
    (folder / CAPTIONS).write_text(json.dumps({"captions": captions}) + "\n")
    index = {
        "_class_name": "DiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "canvas": ["distill3d.diffusion.canvas", "Canvas"],
        "patches": ["distill3d.diffusion.patches", "PatchCodec"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
