"""Zero-1-to-3 checkpoints of toy width, in both layouts in which the real ones are published."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from distill3d.diffusion.networks.camera_projection import CCProjection, CLIPCameraProjection

WIDTH = 16


def zero123_folder(path: Path, projection: str = "clip_camera_projection") -> Path:
    torch.manual_seed(0)
    UNet2DConditionModel(
        sample_size=8,
        in_channels=8,
        out_channels=4,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=2,
        norm_num_groups=4,
        cross_attention_dim=WIDTH,
    ).save_pretrained(path / "unet")
    AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        latent_channels=4,
        sample_size=16,
    ).save_pretrained(path / "vae")
    vision = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=32,
        projection_dim=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
    )
    CLIPVisionModelWithProjection(vision).save_pretrained(path / "image_encoder")
    layer = CCProjection(WIDTH + 4, WIDTH) if projection == "cc_projection" else CLIPCameraProjection(WIDTH, 4)
    layer.save_pretrained(path / projection)
    DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").save_pretrained(path / "scheduler")
    return path
