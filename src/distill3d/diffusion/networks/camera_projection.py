"""A picture's CLIP vector and a relative pose as the one token that Zero-1-to-3's UNet attends to.

The layer is the same in both layouts in which the checkpoints are published; its name and that of its weights are not.
"""

from __future__ import annotations

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn


class CLIPCameraProjection(ModelMixin, ConfigMixin):
    """The layout of `clip_camera_projection/`: [B, embedding_dim + additional_embeddings] to [B, embedding_dim]."""

    @register_to_config
    def __init__(self, embedding_dim: int = 768, additional_embeddings: int = 4) -> None:
        super().__init__()
        self.proj = nn.Linear(embedding_dim + additional_embeddings, embedding_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class CCProjection(ModelMixin, ConfigMixin):
    """The layout of `cc_projection/`: [B, in_channel] to [B, out_channel]."""

    @register_to_config
    def __init__(self, in_channel: int = 772, out_channel: int = 768) -> None:
        super().__init__()
        self.projection = nn.Linear(in_channel, out_channel)

    def forward(self, x: Tensor) -> Tensor:
        return self.projection(x)
