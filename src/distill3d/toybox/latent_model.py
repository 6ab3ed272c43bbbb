"""A miniature of Stable Diffusion before it is trained (Rombach et al. 2022), of diffusers' and transformers' classes
alone: autoencoder, UNet over its latents, CLIP text encoder and the scaled-linear schedule.

It differs from its model in size, and in one connection: the caption as a whole also enters every residual block, as a
scale and shift through the UNet's `addition_embed_type` "text", because a few ten thousand pictures are too few for
cross-attention alone to learn what a word looks like.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from huggingface_hub.utils import disable_progress_bars

from distill3d.toybox.text_networks import make_unet


@dataclass(frozen=True)
class LatentShape:
    """Sizes of the miniature."""

    size: int = 64  # pixels
    latents: int = 4  # channels, of cells of 4 x 4 pixels
    autoencoder: tuple[int, ...] = (16, 32, 64)  # channels at 64, 32 and 16 pixels
    channels: tuple[int, ...] = (48, 96, 128)  # of the UNet, at 16, 8 and 4 cells
    heads: tuple[int, ...] = (2, 3, 4)
    text_width: int = 96
    text_layers: int = 2
    tokens: int = 24

    @property
    def cells(self) -> int:
        """Side of the latent picture."""
        return self.size // 2 ** (len(self.autoencoder) - 1)


def make_autoencoder(shape: LatentShape, scaling_factor: float = 1.0) -> AutoencoderKL:
    """RGB [B, 3, 64, 64] in -1..1 to latents [B, 4, 16, 16] and back, without attention: what it does to a patch does
    not depend on the picture's size."""
    depth = len(shape.autoencoder)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * depth,
        up_block_types=("UpDecoderBlock2D",) * depth,
        block_out_channels=shape.autoencoder,
        layers_per_block=1,
        latent_channels=shape.latents,
        norm_num_groups=1,  # in groups of two or three channels a flat colour is lost: only their signs are left
        sample_size=shape.size,
        scaling_factor=scaling_factor,
        force_upcast=False,
        mid_block_add_attention=False,
    )


def make_latent_unet(shape: LatentShape) -> UNet2DConditionModel:
    """Noisy latents, time and words [B, L, D] to the velocity of the latents."""
    return make_unet(
        shape,
        sample_size=shape.cells,
        in_channels=shape.latents,
        out_channels=shape.latents,
        layers_per_block=1,
        norm_num_groups=4,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
    )


def make_latent_scheduler() -> DDIMScheduler:
    """Stable Diffusion's schedule; the network predicts the velocity, as in its version 2.1."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def save_pipeline(folder: Path, parts: dict[str, Any]) -> None:
    """Write a folder that `diffusers.StableDiffusionPipeline` opens, autoencoder and UNet in half precision. The text
    encoder stays in single: transformers would open it as it is stored, and diffusers the others in single.

    Args:
        parts: vae, unet, text_encoder, tokenizer; the schedule is `make_latent_scheduler`'s.
    """
    disable_progress_bars()  # of the hub's library, which shows one for each file
    for name in ("vae", "unet"):
        half = type(parts[name]).from_config(parts[name].config)
        half.load_state_dict(parts[name].state_dict())
        half.half().save_pretrained(folder / name)
    parts["text_encoder"].save_pretrained(folder / "text_encoder")
    parts["tokenizer"].save_pretrained(folder / "tokenizer")
    make_latent_scheduler().save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "vae": ["diffusers", "AutoencoderKL"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
