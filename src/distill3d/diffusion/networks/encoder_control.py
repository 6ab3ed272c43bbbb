"""A ControlNet for UNets whose encoder diffusers' ControlNetModel cannot copy (Zhang et al. 2023, section 3).

That class takes one number of layers for all blocks and adds a class embedding to that of the time. The embedded
prior's UNet has [1, 1, 2] layers, and its camera stands beside the time; the miniature of Stable Diffusion adds the
caption as a whole to the time. So this one is a UNet of the very config, of
which the half that is no copy, the decoder, is thrown away.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin, UNet2DConditionModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding
from torch import Tensor, nn

# Of a UNet's config, what its encoder is made from; the rest is at its default, or of the decoder.
_COPIED = (
    "sample_size", "in_channels", "block_out_channels", "layers_per_block", "down_block_types", "mid_block_type",
    "cross_attention_dim", "attention_head_dim", "norm_num_groups", "class_embed_type",
    "projection_class_embeddings_input_dim", "class_embeddings_concat", "resnet_time_scale_shift",
    "addition_embed_type", "addition_embed_type_num_heads",
)  # fmt: skip


class EncoderControl(ModelMixin, ConfigMixin):
    """A copy of a UNet's encoder and middle, with zero convolutions at both ends; called like a ControlNetModel.

    What the copied UNet is shown beside x_t (the canvas) the copy is shown too: `in_channels` counts both.

    Args:
        sample_size to resnet_time_scale_shift, addition_embed_type and its heads: as in the UNet's config.
        conditioning_channels: of the hint.
        conditioning_embedding_out_channels: of the layers that the hint goes through; each after the first halves it.
    """

    @register_to_config
    def __init__(
        self,
        sample_size: int = 16,
        in_channels: int = 128,
        block_out_channels: tuple[int, ...] = (64, 96, 160),
        layers_per_block: int | tuple[int, ...] = (1, 1, 2),
        down_block_types: tuple[str, ...] = ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        mid_block_type: str = "UNetMidBlock2DCrossAttn",
        cross_attention_dim: int = 96,
        attention_head_dim: int | tuple[int, ...] = (2, 3, 5),
        norm_num_groups: int = 16,
        class_embed_type: str | None = "projection",
        projection_class_embeddings_input_dim: int | None = 112,
        class_embeddings_concat: bool = True,
        resnet_time_scale_shift: str = "scale_shift",
        conditioning_channels: int = 3,
        conditioning_embedding_out_channels: tuple[int, ...] = (16, 32, 64),
        addition_embed_type: str | None = None,
        addition_embed_type_num_heads: int = 64,
    ) -> None:
        super().__init__()
        self.encoder = UNet2DConditionModel(
            **{name: self.config[name] for name in _COPIED},
            up_block_types=tuple(name.replace("Down", "Up") for name in reversed(down_block_types)),
        )
        del self.encoder.up_blocks, self.encoder.conv_norm_out, self.encoder.conv_act, self.encoder.conv_out
        first = block_out_channels[0]
        self.hint = ControlNetConditioningEmbedding(first, conditioning_channels, conditioning_embedding_out_channels)
        widths = [first]  # of the skip connections: conv_in's, then each layer's and each step down's
        layers = (
            layers_per_block
            if isinstance(layers_per_block, (list, tuple))
            else [layers_per_block] * len(block_out_channels)
        )
        for i, width in enumerate(block_out_channels):
            widths += [width] * (int(layers[i]) + (i < len(block_out_channels) - 1))
        self.controlnet_down_blocks = nn.ModuleList(_zero_convolution(width) for width in widths)
        self.controlnet_mid_block = _zero_convolution(block_out_channels[-1])

    @classmethod
    def of(cls, unet: Any, shrinks: int) -> EncoderControl:
        """Around a copy of `unet`'s weights: until it is trained it changes nothing, to the bit.

        Args:
            shrinks: pixels of the hint a cell of the UNet's, a power of two.
        """
        steps = shrinks.bit_length() - 1
        inside = tuple(16 * 2**i for i in range(steps + 1))
        made = cls(
            **{name: unet.config[name] for name in _COPIED},
            conditioning_embedding_out_channels=inside,
        )
        made.encoder.load_state_dict({k: v for k, v in unet.state_dict().items() if k in made.encoder.state_dict()})
        return made

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        controlnet_cond: Tensor,
        class_labels: Tensor | None = None,
        return_dict: bool = False,
    ) -> tuple[list[Tensor], Tensor]:
        """A residual for every skip connection of the UNet, and one for its middle.

        Args:
            sample: [B, in_channels, h, w]. timestep: [B]. encoder_hidden_states: [B, L, D]. class_labels: [B, K].
            controlnet_cond: the hint, [B, conditioning_channels, H, W] in 0..1.
        """
        encoder = self.encoder
        told = encoder.time_embedding(encoder.get_time_embed(sample=sample, timestep=timestep))
        labels = encoder.get_class_embed(sample=sample, class_labels=class_labels)
        if labels is not None:
            told = torch.cat([told, labels], -1) if self.config.class_embeddings_concat else told + labels
        caption = encoder.get_aug_embed(told, encoder_hidden_states, {})
        told = told if caption is None else told + caption
        x = encoder.conv_in(sample) + self.hint(controlnet_cond)
        skips = [x]
        for block in encoder.down_blocks:
            text = {"encoder_hidden_states": encoder_hidden_states} if hasattr(block, "attentions") else {}
            x, more = block(hidden_states=x, temb=told, **text)
            skips += more
        x = encoder.mid_block(x, told, encoder_hidden_states=encoder_hidden_states)
        down = [zero(skip) for zero, skip in zip(self.controlnet_down_blocks, skips, strict=True)]
        return down, self.controlnet_mid_block(x)


def _zero_convolution(width: int) -> nn.Conv2d:
    """1 x 1, of zeros: it lets nothing through until its first step of training (their eq. 2 and 3)."""
    convolution = nn.Conv2d(width, width, 1)
    nn.init.zeros_(convolution.weight)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    return convolution
