"""A picture as a vector: what the embedded novel-view model remembers of the picture that it is given."""

from __future__ import annotations

import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn


class PictureEncoder(ModelMixin, ConfigMixin):
    """Pictures in the prior's space [B, channels, size, size] to vectors [B, width].

    Args:
        channels, size: of the picture; the size is a multiple of 4.
        inside: channels of the convolutions.
        width: of the vector.
    """

    @register_to_config
    def __init__(self, channels: int = 64, size: int = 16, inside: int = 128, width: int = 256) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, inside, 3, padding=1)
        self.second = nn.Conv2d(inside, inside, 3, stride=2, padding=1)
        self.third = nn.Conv2d(inside, inside, 3, stride=2, padding=1)
        self.last = nn.Linear(inside * (size // 4) ** 2, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, size, size] to [B, width]."""
        x = F.silu(self.first(x))
        x = F.silu(self.third(F.silu(self.second(x))))
        return self.last(x.flatten(1))
