"""The embedded prior before it is trained: a small diffusers UNet, a small CLIP text encoder, a word tokenizer.

Camera and pooled text go together through an MLP of their own, and a scale and shift of their own in every residual
block (`class_embed_type` "projection" with concatenation): what a toy looks like depends on both at once. They also
paint the mean picture that the UNet sees beside the noisy one (`diffusion.networks.canvas`). The network predicts the
clean picture: a patch of noise has as many dimensions as there are channels and does not fit through the network, a
patch of picture does (Li and He 2025, "Back to basics").
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DDIMScheduler
from huggingface_hub.utils import disable_progress_bars
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from distill3d.core.errors import UserError
from distill3d.diffusion.condition import pooled
from distill3d.diffusion.networks.canvas import Canvas
from distill3d.diffusion.patches import PatchCodec
from distill3d.diffusion.view import VIEW_SIZE
from distill3d.diffusion.weight_files import read_json
from distill3d.toybox.captions import VOCABULARY
from distill3d.toybox.text_networks import make_text_encoder, make_unet

PAD, UNKNOWN, END = "<pad>", "<unknown>", "<end>"


@dataclass(frozen=True)
class Shape:
    """Sizes of the embedded prior."""

    size: int = 64  # pixels
    patch: int = 4  # pixels that become channels, along one side
    channels: tuple[int, ...] = (64, 96, 160)
    layers: tuple[int, ...] = (1, 1, 2)
    heads: tuple[int, ...] = (2, 3, 5)
    canvas: int = 512  # width
    text_width: int = 96
    text_layers: int = 2
    tokens: int = 16
    sees_picture: bool = False  # whether it sees a picture to edit beside the noisy one (InstructPix2Pix)


def make_tokenizer(
    tokens: int, vocabulary: Sequence[str] = (PAD, UNKNOWN, END, *VOCABULARY)
) -> PreTrainedTokenizerFast:
    """Words to numbers; an unknown word is `<unknown>`, every text ends with `<end>` and is padded to `tokens`."""
    words = {w: i for i, w in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, words[END])])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, unk_token=UNKNOWN, eos_token=END, model_max_length=tokens
    )


class Denoiser(nn.Module):
    """UNet, canvas and text encoder together: tokens, view and noisy picture to the clean picture."""

    def __init__(self, shape: Shape, vocabulary: int) -> None:
        super().__init__()
        side, inside = shape.size // shape.patch, 4 * shape.patch**2
        self.unet = make_unet(
            shape,
            sample_size=side,
            in_channels=(3 if shape.sees_picture else 2) * inside,
            out_channels=inside,
            layers_per_block=shape.layers,
            norm_num_groups=16,
            class_embed_type="projection",
            projection_class_embeddings_input_dim=VIEW_SIZE + shape.text_width,
            class_embeddings_concat=True,
        )
        self.canvas = Canvas(VIEW_SIZE + shape.text_width, inside, side, shape.canvas)
        with torch.no_grad():  # the default start is so weak that the camera is not heard for the first ten thousands
            self.unet.class_embedding.linear_2.weight.mul_(4)
        self.text = make_text_encoder(shape, vocabulary, pad=0, begin=2, end=2)

    def labels(self, tokens: Tensor, view: Tensor) -> tuple[Tensor, Tensor]:
        """tokens [B, L], view [B, 16] to the words [B, L, D] and the label vector [B, 16 + D]."""
        words = self.text(input_ids=tokens).last_hidden_state
        return words, torch.cat([view, pooled(words)], -1)

    def forward(
        self, x_t: Tensor, t: Tensor, tokens: Tensor, view: Tensor, beside: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """x_t [B, C, h, w], t [B], tokens [B, L], view [B, 16] to x_0 and the mean picture, [B, C, h, w] each.

        `beside`: the picture to edit, [B, C, h, w], where the shape says that it is seen.
        """
        words, labels = self.labels(tokens, view)
        mean = self.canvas(labels)
        seen = torch.cat([x_t, mean.detach(), *([] if beside is None else [beside])], 1).contiguous(
            memory_format=torch.channels_last
        )
        return self.unet(seen, t, encoder_hidden_states=words, class_labels=labels).sample, mean


def read_shape(folder: Path) -> Shape:
    """The sizes of a prior in a folder that `save_folder` wrote.

    Raises:
        UserError: it is none.
    """
    unet, canvas, text = (read_json(folder / part / "config.json") for part in ("unet", "canvas", "text_encoder"))
    patch = int(read_json(folder / "patches" / "config.json")["patch_size"])
    try:
        return Shape(
            size=unet["sample_size"] * patch,
            patch=patch,
            channels=tuple(unet["block_out_channels"]),
            layers=tuple(unet["layers_per_block"]),
            heads=tuple(unet["attention_head_dim"]),
            canvas=canvas["width"],
            text_width=text["hidden_size"],
            text_layers=text["num_hidden_layers"],
            tokens=text["max_position_embeddings"],
            sees_picture=unet["in_channels"] == 12 * patch**2,
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder} is no prior of the toybox: its configs are of another form") from error


def make_scheduler() -> DDIMScheduler:
    """Cosine noise schedule (Nichol and Dhariwal 2021); the network predicts the clean picture."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="trailing",
    )


def save_folder(folder: Path, shape: Shape, denoiser: Denoiser, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write the prior as a folder in diffusers layout, weights in half precision, at most 16 MB a file."""
    half = Denoiser(shape, len(tokenizer)).half()
    half.load_state_dict({k: v.detach().cpu().half() for k, v in denoiser.state_dict().items()})
    folder.mkdir(parents=True, exist_ok=True)
    disable_progress_bars()  # of the hub's library, which shows one for each file
    half.unet.save_pretrained(folder / "unet", max_shard_size="16MB")
    half.canvas.save_pretrained(folder / "canvas")
    half.text.save_pretrained(folder / "text_encoder", max_shard_size="16MB")
    tokenizer.save_pretrained(folder / "tokenizer")
    make_scheduler().save_pretrained(folder / "scheduler")
    PatchCodec(shape.patch, 4, 0.5).save_pretrained(folder / "patches")
    index = {
        "_class_name": "DiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "canvas": ["distill3d.diffusion.networks.canvas", "Canvas"],
        "patches": ["distill3d.diffusion.patches", "PatchCodec"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def tokenize(tokenizer: PreTrainedTokenizerFast, captions: list[str]) -> Tensor:
    """[B, tokens] int64."""
    return torch.tensor(
        tokenizer(captions, padding="max_length", truncation=True, max_length=tokenizer.model_max_length).input_ids
    )
