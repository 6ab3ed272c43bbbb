"""Pictures to the latent space of a variational autoencoder and back."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LatentCodec(nn.Module):
    """`z = scaling_factor E(2 v - 1)` (Rombach et al. 2022); gradients reach the picture through E.

    Args:
        vae: a diffusers AutoencoderKL.
    """

    clip_range: tuple[float, float] | None = None  # latents have no limits
    channels = 3
    background: float | None = None

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        self.vae = vae
        self.scaling_factor = float(vae.config.scaling_factor)  # type: ignore[union-attr, arg-type]

    @property
    def scale(self) -> int:
        """Pixels a cell of the latent picture, along one side."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)  # type: ignore[union-attr, arg-type]

    def encode(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """[B, H, W, 3] in 0..1 to [B, c, h, w]: the posterior's mean, or a sample where a generator is given."""
        pictures = (2 * images.permute(0, 3, 1, 2) - 1).to(self._dtype)
        posterior = self.vae.encode(pictures).latent_dist  # type: ignore[operator]
        z = posterior.mode() if generator is None else posterior.sample(generator)
        return z.to(images.dtype) * self.scaling_factor

    def decode(self, x: Tensor) -> Tensor:
        """[B, c, h, w] to [B, H, W, 3]; not clamped."""
        pictures = self.vae.decode((x / self.scaling_factor).to(self._dtype)).sample  # type: ignore[operator]
        return (pictures.to(x.dtype).permute(0, 2, 3, 1) + 1) / 2

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.vae.parameters()).dtype
