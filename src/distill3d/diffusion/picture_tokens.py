"""What the embedded prior's words and camera would say of a picture: the eye of the embedded novel-view model.

The prior knows how a named toy looks from every side, so a picture is best told to it in its own terms: tokens like
those of its text encoder, and from where, counted from the toy's front, the picture was taken. A turn of the camera by
an angle then turns each harmonic of that azimuth by a multiple of it, which needs no learning at all.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from distill3d.diffusion.view import HARMONICS

_REFERENCE = 6  # numbers that say how the picture's camera stood, see `diffusion.relative_view`


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(16, width) for _ in range(2))
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            y = conv(F.silu(norm(y)))
        return x + y


class PictureTokens(ModelMixin, ConfigMixin):
    """Convolutions that know what belongs together, then attention of places and of queries; the queries are what is
    told.

    Args:
        channels, size: of the picture in the prior's space; the size is even.
        width: of the attention. tokens: how many are told, each of length `token`. layers: of attention.
    Attributes:
        nothing: [tokens, token], what is told where there is no picture.
    """

    @register_to_config
    def __init__(
        self, channels: int = 64, size: int = 16, width: int = 192, tokens: int = 32, token: int = 96, layers: int = 2
    ) -> None:
        super().__init__()
        fine = width // 2
        self.enter = nn.Conv2d(channels, fine, 3, padding=1)
        self.fine = _Residual(fine)
        self.down = nn.Conv2d(fine, width, 3, stride=2, padding=1)
        self.coarse = _Residual(width)
        self.reference = nn.Linear(_REFERENCE, width)
        self.places = nn.Parameter(0.02 * torch.randn((size // 2) ** 2, width))
        self.queries = nn.Parameter(0.5 * torch.randn(tokens + 1, width))
        self.attention = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.words = nn.Linear(width, token)
        self.front = nn.Linear(width, 2 * len(HARMONICS))
        self.nothing = nn.Parameter(torch.zeros(tokens, token))

    def forward(self, picture: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
        """What is in a picture, and from where it was taken.

        Args:
            picture: [B, channels, size, size]. reference: [B, 6], see `reference_vector`.
        Returns:
            Tokens [B, tokens, token], and sine and cosine of each harmonic of the camera's azimuth, counted from the
            front of the thing, [B, 8]: as far as it can be told; a thing that looks alike from all sides has zeros.
        """
        x = self.coarse(self.down(self.fine(self.enter(picture)))).flatten(2).transpose(1, 2)
        x = x + self.places + self.reference(reference)[:, None]
        x = torch.cat([x, self.queries.expand(len(x), -1, -1)], 1)
        for layer in self.attention:
            x = layer(x)
        told = self.norm(x[:, -len(self.queries) :])
        return self.words(told[:, :-1]), self.front(told[:, -1])
