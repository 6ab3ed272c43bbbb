"""ControlNets beside a denoiser: one or several, weighted by layer and by region (Zhang et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distill3d.core.errors import UserError
from distill3d.diffusion.hint import Hint

Residuals = tuple[list[Tensor], Tensor]  # one for every skip connection of the denoiser, and one for its middle


def decaying(layers: int, base: float = 0.825) -> list[float]:
    """Weights base^(n-1), ..., base, 1 from the finest layer to the middle: a control that is felt in the large alone.

    ControlNet's own "guess mode" has these for its 13 layers; diffusers' has a logarithmic scale from 0.1 to 1.
    """
    return [base ** (layers - 1 - i) for i in range(layers)]


class Controls(nn.Module):
    """The ControlNets of a prior, whose residuals are weighted and added up before the denoiser's decoder.

    Args:
        networks: each with the call of a diffusers ControlNetModel.
        layers: for each network, a weight for every residual, from the finest skip connection to the middle.
        scale: pixels a cell of the denoiser's space, along one side.
    """

    def __init__(self, networks: Sequence[nn.Module], layers: Sequence[Sequence[float]], scale: int) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.layers = [list(weights) for weights in layers]
        for i, (network, weights) in enumerate(zip(self.networks, self.layers, strict=True)):
            count = residual_count(network)
            if len(weights) != count:
                raise UserError(
                    f"prior.control.{i}.layers has {len(weights)} weights; this ControlNet has {count} layers"
                )
            shrinks = 2 ** (len(network.config.conditioning_embedding_out_channels) - 1)  # type: ignore[union-attr, arg-type]
            if shrinks != scale:
                raise UserError(
                    f"prior.control.{i}: the ControlNet shrinks its picture {shrinks} times, the prior {scale} times"
                )

    def __len__(self) -> int:
        return len(self.networks)

    def forward(
        self, x: Tensor, t: Tensor, text: Tensor, hints: Sequence[Hint | None], options: dict[str, Any]
    ) -> Residuals | None:
        """The weighted sum of all residuals, or None where there is no hint.

        Args:
            x: [B, c, h, w], what the denoiser sees. text: [B, L, D].
            hints: one a network, expanded to B pictures.
            options: what else the denoiser is told: class labels, added conditions.
        """
        total: Residuals | None = None
        for network, layers, hint in zip(self.networks, self.layers, hints, strict=True):
            if hint is None:
                continue
            config: Any = network.config
            picture = _as_channels(hint.image, config.conditioning_channels).to(x)
            seen = x[:, : config.in_channels]  # of x_t and what stands beside it, x_t comes first
            down, middle = network(
                seen, t, encoder_hidden_states=text, controlnet_cond=picture, return_dict=False, **options
            )
            found = weighted([*down, middle], layers, torch.as_tensor(hint.weight), hint.region)
            total = (found[:-1], found[-1]) if total is None else added(total, (found[:-1], found[-1]))
        return total


def residual_count(network: Any) -> int:
    """How many residuals a ControlNet gives: one for every skip connection, and one for the middle."""
    return len(network.controlnet_down_blocks) + 1


def weighted(
    residuals: Sequence[Tensor], layers: Sequence[float], weight: Tensor, region: Tensor | None
) -> list[Tensor]:
    """Residual i times layers[i], times the hint's weight [B], times its region at the residual's own size.

    Args:
        residuals: [B, c_i, h_i, w_i] each. region: [B, H, W, 1] in 0..1; a cell takes the mean of its pixels.
    """
    results = []
    for residual, layer in zip(residuals, layers, strict=True):
        amount = layer * weight.to(residual).view(-1, 1, 1, 1)
        if region is not None:
            height, width = residual.shape[-2:]
            amount = amount * F.adaptive_avg_pool2d(region.permute(0, 3, 1, 2).to(residual), (height, width))
        results.append(amount * residual)
    return results


def _as_channels(image: Tensor, channels: Any) -> Tensor:
    """[B, H, W, C] to [B, channels, H, W]; grey pictures (depth, edges) are repeated where colour is expected.

    Raises:
        UserError: another number of channels.
    """
    if image.shape[-1] == 1:
        image = image.expand(-1, -1, -1, channels)
    if image.shape[-1] != channels:
        raise UserError(f"a control picture has {image.shape[-1]} channels; its ControlNet takes {channels}")
    return image.permute(0, 3, 1, 2)


def added(one: Residuals, other: Residuals) -> Residuals:
    """Two ControlNets at once."""
    return [a + b for a, b in zip(one[0], other[0], strict=True)], one[1] + other[1]


def checked(
    control: Hint | Sequence[Hint | None] | None, count: int, batch: int, resolution: int
) -> tuple[Hint | None, ...]:
    """One hint, or None, for each of a prior's `count` ControlNets; () where there is nothing to see.

    Raises:
        UserError: more hints than ControlNets, or a picture or a region of another size than the prior's.
    """
    hints: list[Hint | None] = [control] if isinstance(control, Hint) else list(control or ())
    if all(hint is None for hint in hints):
        return ()
    if len(hints) > count:
        raise UserError(f"{len(hints)} control pictures for a prior with {count} ControlNets; prior.control names them")
    for i, hint in enumerate(hints):
        if hint is None:
            continue
        for what, value, channels in (("picture", hint.image, (1, 3, 4)), ("region", hint.region, (1,))):
            shape = () if value is None else tuple(value.shape)
            fits = len(shape) == 4 and shape[0] in (1, batch) and shape[1:3] == (resolution, resolution)
            if value is not None and not (fits and shape[3] in channels):
                wanted = f"{resolution} x {resolution}, one or {batch} of them"
                raise UserError(f"the {what} for control {i} is {list(shape)} (B, H, W, C); the prior takes {wanted}")
    return (*hints, *[None] * (count - len(hints)))
