"""ControlNet folders, from a config or out of a pipeline's own folder, to `Controls`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import distill3d
from distill3d.core.errors import UserError
from distill3d.diffusion import folder as folders
from distill3d.diffusion import hub
from distill3d.diffusion.aliases import TOYBOX_CONTROLS, Source, source
from distill3d.diffusion.checkpoint import Checkpoint
from distill3d.diffusion.control import Controls, decaying, residual_count
from distill3d.diffusion.options import ControlConfig
from distill3d.diffusion.weight_files import read_json

_CLASS, _OURS = "ControlNetModel", "EncoderControl"
_SHARED = ("block_out_channels", "layers_per_block", "cross_attention_dim")  # what it has in common with its denoiser


def locate_control(model: str, allow_pickle: bool = False, half: bool = False, download: bool = True) -> Path | None:
    """The checked folder of a ControlNet; None for one on the hub that is not cached, without `download`.

    Args:
        model: toybox-depth or toybox-edge (embedded), a folder, or a hub id.
    Raises:
        UserError: nothing of that name, or it is not whole.
    """

    def check(path: Path) -> None:
        folders.check_network(path, _class_of(path), allow_pickle)

    found = _embedded(model) or folders.local(model, "prior.control")
    if found is None:
        place: Source = source(model, "prior.control")
        return hub.fetch(place, check, half, allow_pickle=allow_pickle) if download else hub.cached(place, check)
    check(found)
    return found


def load_controls(
    sections: Sequence[ControlConfig], checkpoint: Checkpoint, dtype: torch.dtype, scale: int
) -> Controls:
    """The ControlNets that a config names, after the one that the checkpoint's own folder may hold.

    Args:
        scale: pixels a cell of the prior's space, along one side.
    Raises:
        UserError: a ControlNet that cannot be loaded, or does not fit the prior.
    """
    networks: list[Any] = []
    layers: list[list[float]] = []
    if "controlnet" in checkpoint.parts:
        networks.append(checkpoint.network("controlnet", dtype))
        layers.append([1.0] * residual_count(networks[-1]))
    for section in sections:
        path = locate_control(section.model, checkpoint.allow_pickle, checkpoint.half)
        assert path is not None  # it was fetched, or an error told why not
        networks.append(
            folders.load_network(path, "", _class_of(path), dtype, checkpoint.allow_pickle, checkpoint.half)
        )
        _check_family(networks[-1].config, checkpoint.config("unet"), section.model, checkpoint.name)
        layers.append(layer_weights(section, residual_count(networks[-1])))
    return Controls(networks, layers, scale)


def _embedded(model: str) -> Path | None:
    """The folder of a ControlNet that is shipped with the embedded prior; None for any other name."""
    if model not in TOYBOX_CONTROLS:
        return None
    return Path(distill3d.__file__).parent / "toybox" / "control_weights" / model.removeprefix("toybox-")


def _class_of(folder: Path) -> str:
    """The class of ControlNet that a folder's config names; diffusers' own where it names no other that is known."""
    return _OURS if read_json(folder / "config.json").get("_class_name") == _OURS else _CLASS


def _check_family(control: Any, denoiser: dict[str, Any], model: str, prior: Path) -> None:
    """Refuses a ControlNet whose residuals or text are of another shape than the denoiser's.

    Raises:
        UserError: it was trained beside another family of models.
    """
    for key in _SHARED:
        ours, wanted = control.get(key), denoiser.get(key)
        if ours is None or wanted is None:  # left to a default
            continue
        blocks = len(control["block_out_channels"])
        if _each(ours, blocks) != _each(wanted, blocks):
            raise UserError(
                f"the ControlNet {model} does not fit the prior {prior}: its {key} is {ours}, the prior's {wanted}"
            )


def _each(value: Any, blocks: int) -> list[Any]:
    """One value a block, as a config may say it by one number."""
    return list(value) if isinstance(value, (list, tuple)) else [value] * blocks


def layer_weights(section: ControlConfig, count: int) -> list[float]:
    """A weight for each residual, as a config says it."""
    if section.layers == "all":
        weights: Sequence[float] = [1.0] * count
    elif section.layers == "decay":
        weights = decaying(count)
    else:
        weights = section.layers
    return [section.weight * w for w in weights]
