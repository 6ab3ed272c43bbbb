"""Published model families at toy width: diffusers' own pipelines over real networks with random weights.

Each has the classes and the config keys of the published checkpoint and is saved by diffusers itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDPMScheduler,
    EulerDiscreteScheduler,
    IFPipeline,
    PNDMScheduler,
    StableDiffusionControlNetPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from huggingface_hub.utils import disable_progress_bars
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

TOKENS = 12  # a prompt's length, where the published models have 77
SCALED_LINEAR = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
}
_LETTERS = "abcdefghijklmnopqrstuvwxyz,.0123456789"

disable_progress_bars()


def stable_diffusion(prediction: str = "epsilon", open_clip: bool = False) -> StableDiffusionPipeline:
    """Stable Diffusion 1.5, or 2.1 with another prediction and another activation in its text encoder."""
    torch.manual_seed(0)
    return StableDiffusionPipeline(
        vae=autoencoder(),
        text_encoder=CLIPTextModel(_clip(16, "gelu" if open_clip else "quick_gelu")),
        tokenizer=clip_tokenizer("!" if open_clip else "<|endoftext|>"),
        unet=unet(use_linear_projection=open_clip),
        scheduler=PNDMScheduler(**SCALED_LINEAR, prediction_type=prediction, skip_prk_steps=True, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl() -> StableDiffusionXLPipeline:
    torch.manual_seed(1)
    return StableDiffusionXLPipeline(
        vae=autoencoder(scaling_factor=0.13025, force_upcast=True),
        text_encoder=CLIPTextModel(_clip(8, "quick_gelu")),
        text_encoder_2=CLIPTextModelWithProjection(_clip(24, "gelu", projection=20)),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer("!"),
        unet=unet(
            cross_attention_dim=32,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 20,
            transformer_layers_per_block=(1, 2),
            use_linear_projection=True,
        ),
        scheduler=EulerDiscreteScheduler(**SCALED_LINEAR, timestep_spacing="leading", steps_offset=1),
        force_zeros_for_empty_prompt=True,
    )


def deepfloyd() -> IFPipeline:
    torch.manual_seed(2)
    text = T5Config(
        vocab_size=60, d_model=24, d_kv=6, d_ff=32, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu"
    )
    return IFPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=T5EncoderModel(text),
        unet=unet(
            in_channels=3,
            out_channels=6,
            sample_size=16,
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
            encoder_hid_dim=24,
            encoder_hid_dim_type="text_proj",
            addition_embed_type="text",
            addition_embed_type_num_heads=4,
            class_embed_type=None,
            resnet_time_scale_shift="scale_shift",
            act_fn="gelu",
        ),
        scheduler=DDPMScheduler(
            beta_schedule="squaredcos_cap_v2", variance_type="learned_range", clip_sample=True, thresholding=False
        ),
        safety_checker=None,
        feature_extractor=None,
        watermarker=None,
        requires_safety_checker=False,
    )


def instruct_pix2pix() -> StableDiffusionInstructPix2PixPipeline:
    plain = stable_diffusion()
    torch.manual_seed(3)
    parts = {**plain.components, "unet": unet(in_channels=8), "image_encoder": None}
    return StableDiffusionInstructPix2PixPipeline(**parts, requires_safety_checker=False)


def with_controlnet(controlnet: Any) -> StableDiffusionControlNetPipeline:
    """`stable_diffusion()` with one ControlNet, or with a list of them."""
    return StableDiffusionControlNetPipeline(
        **stable_diffusion().components, controlnet=controlnet, requires_safety_checker=False
    )


def controlnet(seed: int, like: UNet2DConditionModel | None = None) -> ControlNetModel:
    """A ControlNet whose zero convolutions are zero no longer, as after training."""
    torch.manual_seed(seed)
    model = ControlNetModel.from_unet(like or unet(), conditioning_embedding_out_channels=(8, 16))
    for name, parameter in model.named_parameters():
        if name.startswith(("controlnet_down_blocks", "controlnet_mid_block", "controlnet_cond_embedding.conv_out")):
            torch.nn.init.normal_(parameter, std=0.2)
    return model


def unet(**changes: Any) -> UNet2DConditionModel:
    config = {
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (8, 16),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 2,
        "attention_head_dim": 4,
        "norm_num_groups": 4,
        "cross_attention_dim": 16,
    }
    return UNet2DConditionModel(**config | changes)


def autoencoder(**changes: Any) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        layers_per_block=2,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=16,
        **changes,
    )


def clip_tokenizer(pad: str = "<|endoftext|>") -> CLIPTokenizer:
    """CLIP's, with letters for a vocabulary; Stable Diffusion 2 pads with "!"."""
    words = ["!", *_LETTERS, *(letter + "</w>" for letter in _LETTERS), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: i for i, word in enumerate(words)}
    return CLIPTokenizer(vocabulary, merges=[], pad_token=pad, model_max_length=TOKENS)


def t5_tokenizer() -> T5Tokenizer:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0), *((c, -2.0) for c in _LETTERS)]
    return T5Tokenizer(pieces, extra_ids=0, model_max_length=77)


def _clip(width: int, activation: str, projection: int = 16) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=3 + 2 * len(_LETTERS),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        projection_dim=projection,
        hidden_act=activation,
        bos_token_id=2 * len(_LETTERS) + 1,
        eos_token_id=2 * len(_LETTERS) + 2,
        pad_token_id=1,
    )


def saved(pipeline: Any, folder: Path) -> Path:
    """The pipeline's folder, written by diffusers."""
    pipeline.set_progress_bar_config(disable=True)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()  # as a pipeline that was loaded has them
    pipeline.save_pretrained(folder)
    return folder


@dataclass
class Step:
    """One step of a pipeline: what its network saw, and what its scheduler was given to step with."""

    seen: torch.Tensor
    t: int
    output: torch.Tensor

    def x(self, channels: int) -> torch.Tensor:
        """x_t of the first branch."""
        return self.seen[:1, :channels]

    def time(self) -> torch.Tensor:
        return torch.tensor([self.t])


def watched(pipeline: Any, **call: Any) -> list[Step]:
    """The steps of a call of the pipeline."""
    seen: list[torch.Tensor] = []
    steps: list[Step] = []
    plain_step = pipeline.scheduler.step

    def step(output: torch.Tensor, t: Any, *args: Any, **options: Any) -> Any:
        steps.append(Step(seen[-1], int(t), output))
        return plain_step(output, t, *args, **options)

    hook = pipeline.unet.register_forward_pre_hook(lambda _, args, kwargs: seen.append(args[0]), with_kwargs=True)
    pipeline.scheduler.step = step
    pipeline.set_progress_bar_config(disable=True)
    try:
        with torch.no_grad():
            pipeline(generator=torch.Generator().manual_seed(0), **call)
    finally:
        hook.remove()
        del pipeline.scheduler.step
    return steps
