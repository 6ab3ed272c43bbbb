"""Stable Diffusion in one file: which family it is of, and its weights in the networks of a folder's configs.

Such a file holds weights alone. Configs, tokenizer and schedule come from a `layout`: a folder in diffusers layout
of the same family, of which no weights are read.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.diffusion.classes import NETWORKS, get_class
from distill3d.diffusion.ldm_names import Place, open_clip_place, unet_name, vae_name
from distill3d.diffusion.tensor_file import TensorFile
from distill3d.diffusion.weight_files import read_json

_UNET, _VAE = "model.diffusion_model.", "first_stage_model."
_HF_CLIP = ("cond_stage_model.transformer.text_model.", "conditioner.embedders.0.transformer.text_model.")
_OPEN_CLIP = {"text_encoder": "cond_stage_model.model.", "text_encoder_2": "conditioner.embedders.1.model."}
_SPARE = ("loss.", "position_ids")  # of the program that trained it; no part of a network
_FIRST = _UNET + "input_blocks.0.0.weight"


def layout_of(file: TensorFile) -> str:
    """The alias of the model whose configs fit the file.

    Raises:
        UserError: it is no Stable Diffusion, or the file alone cannot tell.
    """
    if _FIRST not in file:
        raise UserError(f"{file.path} is not a Stable Diffusion in one file: {_what(file.shapes)}")
    channels = file.shapes[_FIRST][1]
    if any(name.startswith(_OPEN_CLIP["text_encoder_2"]) for name in file.shapes):
        family = "sdxl"
    elif any(name.startswith(_OPEN_CLIP["text_encoder"]) for name in file.shapes):
        raise UserError(
            f"{file.path} is a Stable Diffusion 2, and does not tell whether it predicts noise or velocity: "
            f"say prior.layout=sd21-base (512 pixels, noise) or prior.layout=sd21 (768 pixels, velocity)"
        )
    else:
        family = "ip2p" if channels == 8 else "sd15"
    if channels != (8 if family == "ip2p" else 4):
        raise UserError(f"{file.path}: its unet takes {channels} channels; 4, or 8 for InstructPix2Pix, are known")
    return family


def load_network(file: TensorFile, layout: Path, name: str, class_name: str, dtype: torch.dtype) -> Any:
    """One network of the file, as `layout` describes it, frozen and in evaluation mode.

    Raises:
        UserError: a tensor is missing, misshapen, or has no place in the network.
    """
    config = read_json(layout / name / "config.json")
    network = _empty(class_name, config, layout / name)
    wanted = network.state_dict()
    places = {key: _place(name, key, config, wanted, file) for key in wanted}
    for place in places.values():
        if place.name not in file:
            raise UserError(f"{file.path}: {place.name!r} is missing; the {name} of {layout} has it")
    prefix = {"unet": _UNET, "vae": _VAE}.get(name)
    if prefix is not None:
        used = {place.name for place in places.values()}
        extra = sorted(k for k in file.shapes if k.startswith(prefix) and k not in used)
        extra = [k for k in extra if not k.removeprefix(prefix).startswith(_SPARE)]
        if extra:
            raise UserError(f"{file.path}: the {name} of {layout} has no place for {extra[0]!r}")
    state = {}
    for key, place in places.items():
        tensor, shape = _taken(file.tensor(place.name), place), wanted[key].shape
        if tensor.numel() != shape.numel() or tensor.shape[:1] != shape[:1]:
            have = list(tensor.shape)
            raise UserError(f"{file.path}: {place.name!r} is {have}, the {name} of {layout} wants {list(shape)}")
        # Attention of old autoencoders is a 1 x 1 convolution. A copy: not a view of the file, whose bytes lie anyhow.
        state[key] = torch.empty(shape, dtype=dtype).copy_(tensor.reshape(shape))
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


def _place(name: str, key: str, config: dict[str, Any], keys: Collection[str], file: TensorFile) -> Place:
    if name == "unet":
        return Place(_UNET + unet_name(key, int(config.get("layers_per_block", 2)), keys))
    if name == "vae":
        return Place(_VAE + vae_name(key, len(config["block_out_channels"])))
    key = key.removeprefix("text_model.")
    for prefix in _HF_CLIP if name == "text_encoder" else ():
        if prefix + key in file:
            return Place(prefix + key)
    if name in _OPEN_CLIP and any(k.startswith(_OPEN_CLIP[name]) for k in file.shapes):
        place = open_clip_place(key)
        return place._replace(name=_OPEN_CLIP[name] + place.name)
    return Place(_HF_CLIP[0] + key)


def _taken(tensor: Tensor, place: Place) -> Tensor:
    if place.third is not None:
        tensor = tensor.chunk(3)[place.third]
    return tensor.T if place.transposed else tensor


def _empty(class_name: str, config: dict[str, Any], where: Path) -> Any:
    """The network of a config with no weights yet: what is not stored in files is computed, the rest is nowhere."""
    network_class = get_class(class_name)
    try:
        with torch.device("meta"):
            if NETWORKS[class_name] == "transformers":
                network = network_class(network_class.config_class.from_dict(config))
            else:
                network = network_class.from_config(config)
    except Exception as error:  # whatever a config makes a constructor stumble over
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{where / 'config.json'} does not make a {class_name}: {reason}") from error
    stored = set(network.state_dict())
    for path, buffer in list(network.named_buffers()):
        if path not in stored:
            owner, _, leaf = path.rpartition(".")
            if leaf != "position_ids":
                raise UserError(f"{class_name} keeps a table {leaf!r} that cannot be computed here")
            numbers = torch.arange(buffer.shape[-1]).expand(buffer.shape)
            network.get_submodule(owner).register_buffer(leaf, numbers, persistent=False)
    return network


def _what(names: Collection[str]) -> str:
    """A guess at what a file is instead."""
    if any("lora" in name for name in names):
        return "it is a LoRA, which goes into prior.lora"
    if any(name.startswith(("control_model.", "controlnet_")) for name in names):
        return "it is a ControlNet, which goes into prior.control as a folder"
    if any(name.startswith(("down_blocks.", "encoder.down_blocks.")) for name in names):
        return "it is one network of a folder in diffusers layout; give the folder"
    return f"it has no {_FIRST!r}"
