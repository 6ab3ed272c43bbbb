"""What text and camera alone say about a picture: the mean of all pictures that they fit.

A UNet of convolutions knows where it is only by the padding at its borders, so it learns slowly to paint what it is
told onto pure noise: after thirty thousand pictures the embedded prior still drew symmetric blobs. This small decoder
learns the mean picture by plain regression, tens of times faster, and the UNet sees it beside the noisy picture: what
is left to learn is how to choose one picture around the mean.

It hears neither the noisy picture nor the time, so over the steps of a sampler it is asked the same question again and
again: `mean_picture` keeps the last answer.
"""

from __future__ import annotations

import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn


class Canvas(ModelMixin, ConfigMixin):
    """Labels [B, labels] (the camera's vector and the pooled text) to a mean picture [B, channels, size, size].

    Args:
        labels: length of the label vector.
        channels, size: of the picture in the prior's space; the size is even.
        width: of the hidden layers; a quarter of it is the number of channels inside.
    """

    @register_to_config
    def __init__(self, labels: int = 112, channels: int = 64, size: int = 16, width: int = 512) -> None:
        super().__init__()
        inside = width // 4
        self.hidden = nn.Sequential(nn.Linear(labels, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.grid = nn.Linear(width, inside * 16)
        self.coarse = nn.Conv2d(inside, inside, 3, padding=1)
        self.middle = nn.Conv2d(inside, inside, 3, padding=1)
        self.fine = nn.Conv2d(inside, 4 * channels, 1)

    def forward(self, labels: Tensor) -> Tensor:
        """[B, labels] to [B, channels, size, size]."""
        x = self.grid(self.hidden(labels)).view(len(labels), -1, 4, 4)
        x = F.silu(self.coarse(F.silu(x)))
        x = F.interpolate(x, size=(self.config.size // 2,) * 2, mode="bilinear")
        x = F.silu(self.middle(x))
        return F.pixel_shuffle(self.fine(x), 2)
