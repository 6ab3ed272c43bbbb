"""Less memory for more time: slices of attention, tiles of the autoencoder, weights that wait outside the device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

Offload = Literal["none", "text", "layers"]
_Entry = tuple[dict[str, Any], str, Tensor]  # a module's table of weights, a name in it, and what belongs there


def slice_attention(unet: Any) -> None:
    """Attention of half the heads at a time: half the memory of its largest matrix, and other rounding errors.

    Of use where torch has no fused attention; where it has one, there is no such matrix, and this costs time alone.
    """
    unet.set_attention_slice("auto")


def tile_autoencoder(vae: Any) -> None:
    """Pictures larger than the autoencoder's own size are encoded and decoded in overlapping, blended tiles.

    Memory no longer grows with the picture. Each tile is normalised by itself, so the result differs a little; a
    picture of the autoencoder's own size is one tile and comes out the same.
    """
    vae.enable_tiling()


def keep_away(module: nn.Module, device: torch.device) -> None:
    """The module's weights stay where they are, and are on `device` only while it runs.

    Weights must be frozen and the module must run without a graph: what backward needs would be gone.
    """

    home: list[_Entry] = []

    def enter(inner: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        home.extend(_exchange(inner.modules(), device))
        return _moved(args, device), _moved(kwargs, device)

    def leave(*_: Any) -> None:
        for table, name, tensor in home:
            table[name] = tensor
        home.clear()

    module.register_forward_pre_hook(enter, with_kwargs=True)
    module.register_forward_hook(leave, always_call=True)


def place(
    prior: nn.Module,
    encoders: Sequence[nn.Module],
    denoisers: Sequence[nn.Module],
    device: torch.device,
    offload: Offload,
) -> None:
    """Move a prior to its device, all but what waits outside it.

    Args:
        encoders: of text: they run once a prompt. denoisers: the UNet and the ControlNets.
        offload: "none"; "text" keeps the encoders away; "layers" the blocks of the denoisers too. On the CPU, where
            the weights are anyway, it does nothing.
    """
    if offload == "none" or device.type == "cpu":
        prior.to(device)
        return
    away = {id(m) for encoder in encoders for m in encoder.modules()}
    if offload == "layers":
        away |= {id(m) for network in denoisers for block in _blocks(network) for m in block.modules()}
    _exchange([module for module in prior.modules() if id(module) not in away], device)
    for encoder in encoders:
        keep_away(encoder, device)
    for network in denoisers if offload == "layers" else ():
        for block in _blocks(network):
            keep_away(block, device)


def _blocks(denoiser: Any) -> list[nn.Module]:
    """The blocks of a denoiser, which run one after the other."""
    every = (*denoiser.down_blocks, denoiser.mid_block, *getattr(denoiser, "up_blocks", ()))
    return [block for block in every if block is not None]


def _exchange(modules: Iterable[nn.Module], device: torch.device) -> list[_Entry]:
    """Put copies on `device` in the place of the modules' own weights. Returns these, and where they belong."""
    was: list[_Entry] = []
    copies: dict[int, Tensor] = {}  # by what they are copies of: weights may be tied
    for module in modules:
        tables: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for table in tables:
            for name, tensor in table.items():
                if tensor is None:
                    continue
                if id(tensor) not in copies:
                    there = tensor.detach().to(device)
                    copies[id(tensor)] = nn.Parameter(there, False) if isinstance(tensor, nn.Parameter) else there
                was.append((table, name, tensor))
                table[name] = copies[id(tensor)]
    return was


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(v, device) for v in value)
    return {k: _moved(v, device) for k, v in value.items()} if isinstance(value, dict) else value
