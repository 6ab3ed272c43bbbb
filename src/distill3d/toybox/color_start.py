"""Where an autoencoder begins: as one that keeps the mean colour of every cell.

From a random start, ten thousand pictures go by before the colours have found their way through two dozen layers. So
six channels are laid through all of them at once, the three colours and their negatives (`silu(c) - silu(-c) = c`),
and the residual blocks begin at zero (Goyal et al. 2017, section 5.1). What a cell holds beside its mean colour is
left to learn.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

COLORS = 3
LANES = 2 * COLORS  # channels: the colours, and their negatives
_GAIN = 0.4  # of the last layer: group normalisation has made the colours' spread about 1
_LOG_VARIANCE = -4.0  # of the posterior


@torch.no_grad()
def keep_colors(vae: AutoencoderKL) -> None:
    """Set the lanes; every other weight stays as it is drawn."""
    encoder, decoder = vae.encoder, vae.decoder
    for module in (*encoder.modules(), *decoder.modules()):
        if hasattr(module, "conv_shortcut"):  # a residual block
            nn.init.zeros_(module.conv2.weight)
            if module.conv_shortcut is not None:
                _set_lanes(module.conv_shortcut, torch.eye(LANES))
    twins = torch.cat([torch.eye(COLORS), -torch.eye(COLORS)])  # [6, 3]
    _set_lanes(encoder.conv_in, twins)
    _set_lanes(decoder.conv_in, twins)
    for block in encoder.down_blocks:
        for down in block.downsamplers or ():
            _set_lanes(down.conv, torch.eye(LANES), mean=True)
    for block in decoder.up_blocks:
        for up in block.upsamplers or ():
            _set_lanes(up.conv, torch.eye(LANES))
    _set_lanes(encoder.conv_out, twins.T)
    _set_lanes(decoder.conv_out, _GAIN * twins.T)
    latents = vae.post_quant_conv.weight.shape[0]
    _set_lanes(vae.post_quant_conv, torch.eye(latents))
    _set_lanes(vae.quant_conv, torch.eye(latents))
    nn.init.constant_(vae.quant_conv.bias[latents:], _LOG_VARIANCE)
    vae.quant_conv.weight[latents:] *= 0.1


def _set_lanes(conv: nn.Conv2d, matrix: Tensor, mean: bool = False) -> None:
    """The first outputs of a convolution become `matrix` [out, in] times the first inputs, at its middle.

    Args:
        mean: over the 2 x 2 pixels that a step of two leaves behind instead.
    """
    rows, columns = matrix.shape
    conv.weight[:rows] = 0
    if conv.bias is not None:
        conv.bias[:rows] = 0
    if mean:
        conv.weight[:rows, :columns, :2, :2] = matrix[:, :, None, None] / 4
    else:
        middle = conv.weight.shape[-1] // 2
        conv.weight[:rows, :columns, middle, middle] = matrix
