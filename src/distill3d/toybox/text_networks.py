"""What the toybox's networks that hear text are built of: a UNet with attention to words, and their encoder."""

from __future__ import annotations

from typing import Any, Protocol

from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel


class TextShape(Protocol):
    """Sizes: `channels` and `heads` of the UNet by depth; `text_width`, `text_layers` and `tokens` of the encoder."""

    @property
    def channels(self) -> tuple[int, ...]: ...
    @property
    def heads(self) -> tuple[int, ...]: ...
    @property
    def text_width(self) -> int: ...
    @property
    def text_layers(self) -> int: ...
    @property
    def tokens(self) -> int: ...


def make_unet(shape: TextShape, **own: Any) -> UNet2DConditionModel:
    """A picture, a time and words [B, L, text_width] to a picture of the same size; no attention at the full size.

    Args:
        own: what else diffusers' class takes.
    """
    deep = len(shape.channels) - 1
    return UNet2DConditionModel(
        block_out_channels=shape.channels,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * deep,
        up_block_types=("CrossAttnUpBlock2D",) * deep + ("UpBlock2D",),
        mid_block_type="UNetMidBlock2DCrossAttn",
        cross_attention_dim=shape.text_width,
        attention_head_dim=shape.heads,  # of this class: the number of heads
        resnet_time_scale_shift="scale_shift",
        **own,
    )


def make_text_encoder(shape: TextShape, vocabulary: int, pad: int, begin: int, end: int) -> CLIPTextModel:
    """Tokens [B, L] to words [B, L, text_width].

    Args:
        vocabulary: how many tokens there are. pad, begin, end: which of them stand for these.
    """
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=shape.text_width,
            intermediate_size=2 * shape.text_width,
            projection_dim=shape.text_width,
            num_hidden_layers=shape.text_layers,
            num_attention_heads=4,
            max_position_embeddings=shape.tokens,
            pad_token_id=pad,
            bos_token_id=begin,
            eos_token_id=end,
        )
    )
