"""The embedded novel-view model before it is trained: the prior, with an eye where its ear was.

It begins as the prior. The UNet's first layer gets channels for the given picture with weights of zero; what words and
camera said, the eye says of the picture (`diffusion.picture_tokens`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from huggingface_hub.utils import disable_progress_bars
from torch import Tensor, nn

from distill3d.core.errors import UserError
from distill3d.diffusion.condition import pooled
from distill3d.diffusion.folder import check_network, load_network, load_tokenizer
from distill3d.diffusion.patches import PatchCodec
from distill3d.diffusion.picture_tokens import PictureTokens
from distill3d.diffusion.view import VIEW_SIZE
from distill3d.toybox.model import Shape, make_canvas, make_scheduler, make_unet, read_shape, tokenize

TWICE = 2

_PRIOR = {"unet": "UNet2DConditionModel", "canvas": "Canvas"}  # the networks that are taken from it as they are


@dataclass(frozen=True)
class Told:
    """What a denoiser is told of given pictures, in the prior's terms: [B, L, D], [B, 16] and [B, C, h, w]."""

    tokens: Tensor
    view: Tensor
    picture: Tensor


class ViewDenoiser(nn.Module):
    """UNet, canvas and the eye together."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        labels = VIEW_SIZE + shape.text_width
        self.unet, self.canvas = make_unet(shape, labels), make_canvas(shape, labels)
        self.eye = PictureTokens(
            4 * shape.patch**2, shape.size // shape.patch, tokens=TWICE * shape.tokens, token=shape.text_width
        )

    def forward(self, x_t: Tensor, t: Tensor, told: Told) -> tuple[Tensor, Tensor]:
        """x_t [B, C, h, w] and t [B] to x_0 and the mean picture, [B, C, h, w] each."""
        labels = torch.cat([told.view, pooled(told.tokens)], -1)
        mean = self.canvas(labels)
        inputs = torch.cat([x_t, mean.detach(), told.picture], 1).contiguous(memory_format=torch.channels_last)
        return self.unet(inputs, t, encoder_hidden_states=told.tokens, class_labels=labels).sample, mean

    def forgetful(self, told: Told, seen: Tensor) -> Told:
        """The same, with nothing told of the pictures where `seen`, [B, 1], is 0."""
        wide = seen[..., None]
        tokens = wide * told.tokens + (1 - wide) * self.eye.nothing
        return Told(tokens, seen * told.view, wide[..., None] * told.picture)


def begin(folder: Path) -> tuple[Shape, ViewDenoiser, Hearing]:
    """The prior in `folder` with channels for a given picture that it does not yet listen to, and what it heard so far.

    Raises:
        UserError: the folder holds no embedded prior, or one of another shape.
    """
    shape = read_shape(folder)
    if shape.sees_picture:
        raise UserError(f"{folder} sees a picture already: begin with the prior, or go on with --resume")
    hearing = Hearing(folder)
    shape = replace(shape, sees_picture=True)
    denoiser = ViewDenoiser(shape)
    state = denoiser.state_dict()
    for part, class_name in _PRIOR.items():
        check_network(folder / part, class_name)
        for key, value in load_network(folder, part, class_name, torch.float32).state_dict().items():
            mine = state[f"{part}.{key}"]
            if key == "conv_in.weight":  # noisy picture and canvas; what is beside them comes last
                mine.zero_()
                mine[:, : value.shape[1]] = value
            elif mine.shape == value.shape:
                mine.copy_(value)
            else:
                raise UserError(f"{folder / part} does not fit its own config: {key} has another shape")
    state["eye.nothing"].copy_(hearing([""])[0])
    denoiser.load_state_dict(state)
    return shape, denoiser, hearing


class Hearing:
    """What the prior in a folder makes of captions: what the eye learns to say of pictures.

    Each token comes twice. Attention over tokens that are there twice gives what it gives over them once, and so does
    their mean: the denoiser begins as the prior, with room for twice as much to be said.
    """

    def __init__(self, folder: Path) -> None:
        check_network(folder / "text_encoder", "CLIPTextModel")
        self.tokenizer = load_tokenizer(folder, "PreTrainedTokenizerFast")
        self.encoder = load_network(folder, "text_encoder", "CLIPTextModel", torch.float32)

    @torch.no_grad()
    def __call__(self, captions: list[str]) -> Tensor:
        """[B, L, D]."""
        tokens = tokenize(self.tokenizer, captions).to(self.encoder.device)
        words: Tensor = self.encoder(input_ids=tokens).last_hidden_state
        return words.repeat(1, TWICE, 1)


def save_folder(folder: Path, shape: Shape, denoiser: ViewDenoiser) -> None:
    """Write the model as a folder in diffusers layout, weights in half precision, at most 16 MB a file."""
    half = ViewDenoiser(shape).half()
    half.load_state_dict({k: v.detach().cpu().half() for k, v in denoiser.state_dict().items()})
    folder.mkdir(parents=True, exist_ok=True)
    disable_progress_bars()  # of the hub's library, which shows one for each file
    half.unet.save_pretrained(folder / "unet", max_shard_size="16MB")
    half.canvas.save_pretrained(folder / "canvas")
    half.eye.save_pretrained(folder / "picture_tokens")
    make_scheduler().save_pretrained(folder / "scheduler")
    PatchCodec(shape.patch, 4, 0.5).save_pretrained(folder / "patches")
    index = {
        "_class_name": "DiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "picture_tokens": ["distill3d.diffusion.picture_tokens", "PictureTokens"],
        "canvas": ["distill3d.diffusion.canvas", "Canvas"],
        "patches": ["distill3d.diffusion.patches", "PatchCodec"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
