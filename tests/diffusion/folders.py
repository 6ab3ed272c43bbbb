"""Small, honest model folders in diffusers layout: real networks of toy width with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from distill3d.diffusion.patches import PatchCodec

WORDS = ["[PAD]", "[UNK]", "a", "red", "blue", "mushroom", "chair", "front", "side", "view", ","]
_TEXT_WIDTH = 16
MODULES = {
    "UNet2DConditionModel": "diffusers",
    "AutoencoderKL": "diffusers",
    "PatchCodec": "distill3d.diffusion.patches",
}


def embedded_folder(path: Path, patch: int = 4, size: int = 32, shards: str = "10GB") -> Path:
    """RGBA on patches, with a camera input: the layout of the embedded prior."""
    torch.manual_seed(0)
    unet = _unet(
        4 * patch**2,
        size // patch,
        class_embed_type="projection",
        projection_class_embeddings_input_dim=16,
        class_embeddings_concat=True,
        resnet_time_scale_shift="scale_shift",
    )
    unet.save_pretrained(path / "unet", max_shard_size=shards)
    DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction").save_pretrained(path / "scheduler")
    PatchCodec(patch, 4, 0.5).save_pretrained(path / "patches")
    _text(path, torch.float16)
    _index(path, unet="UNet2DConditionModel", patches="PatchCodec")
    return path


def stable_diffusion_folder(path: Path) -> Path:
    """RGB through an autoencoder that halves the picture: the layout of Stable Diffusion."""
    torch.manual_seed(0)
    _unet(4, 8).save_pretrained(path / "unet")
    AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        latent_channels=4,
        sample_size=16,
    ).save_pretrained(path / "vae")
    DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").save_pretrained(path / "scheduler")
    _text(path, torch.float32)
    _index(path, unet="UNet2DConditionModel", vae="AutoencoderKL")
    return path


def _unet(channels: int, size: int, **options: object) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=2,
        norm_num_groups=4,
        cross_attention_dim=_TEXT_WIDTH,
        **options,
    )


def _text(path: Path, dtype: torch.dtype) -> None:
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", model_max_length=8
    ).save_pretrained(path / "tokenizer")
    config = CLIPTextConfig(
        vocab_size=len(WORDS),
        hidden_size=_TEXT_WIDTH,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=8,
        projection_dim=_TEXT_WIDTH,
        eos_token_id=0,
        bos_token_id=0,
        pad_token_id=0,
    )
    CLIPTextModel(config).to(dtype).save_pretrained(path / "text_encoder")


def _index(path: Path, **networks: str) -> None:
    index = {
        "_class_name": "DiffusionPipeline",
        "scheduler": ["diffusers", "DDIMScheduler"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "safety_checker": [None, None],
        **{name: [MODULES[class_name], class_name] for name, class_name in networks.items()},
    }
    (path / "model_index.json").write_text(json.dumps(index))
