"""A checkpoint as a prior sees it: parts by name, wherever their weights come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from distill3d.core.errors import UserError
from distill3d.diffusion import folder as folders
from distill3d.diffusion import hub, single_file
from distill3d.diffusion.aliases import source
from distill3d.diffusion.latents import LatentCodec
from distill3d.diffusion.patches import PatchCodec
from distill3d.diffusion.prediction import Kind
from distill3d.diffusion.tensor_file import TensorFile
from distill3d.diffusion.weight_files import PICKLES, read_json

NETWORKS = ("unet", "canvas", "text_encoder", "text_encoder_2")  # of every prior; codec and controls are built apart
_KINDS: dict[str, Kind] = {
    "epsilon": "noise",
    "v_prediction": "velocity",
    "sample": "clean",
    "flow_prediction": "flow",
}


class Checkpoint:
    """A checked folder in diffusers layout.

    Args:
        path: the folder.
        allow_pickle: read pickled weights where there are no others.
        half: prefer weights that are stored in half precision.
    Raises:
        UserError: the folder is not whole, or holds what is not known here.
    """

    def __init__(self, path: Path, allow_pickle: bool = False, half: bool = False, texts_only: bool = False) -> None:
        self.path, self.allow_pickle, self.half = path, allow_pickle, half
        self.parts = folders.read_index(path)
        folders.check(path, self.parts, allow_pickle, texts_only)

    @property
    def name(self) -> Path:
        """What error messages call it."""
        return self.path

    def index(self) -> dict[str, Any]:
        """All of `model_index.json`."""
        return read_json(self.path / "model_index.json")

    def config(self, part: str) -> dict[str, Any]:
        """The configuration of one part."""
        return read_json(self.path / part / ("scheduler_config.json" if part == "scheduler" else "config.json"))

    def network(self, part: str, dtype: torch.dtype) -> Any:
        """One network, frozen and in evaluation mode.

        Raises:
            UserError: its weights do not fit its config.
        """
        return folders.load_network(self.path, part, self.parts[part], dtype, self.allow_pickle, self.half)

    def tokenizer(self, part: str = "tokenizer") -> Any:
        """A tokenizer.

        Raises:
            UserError: its files do not make one.
        """
        return folders.load_tokenizer(self.path, self.parts[part], part)


class SingleFile(Checkpoint):
    """The weights of one file in the networks of a folder.

    Args:
        file: the weights.
        layout: the folder that configs, tokenizers and schedule come from.
    """

    def __init__(self, file: TensorFile, layout: Path) -> None:
        super().__init__(layout, texts_only=True)
        self.file = file
        self.parts.pop("controlnet", None)

    @property
    def name(self) -> Path:
        return self.file.path

    def network(self, part: str, dtype: torch.dtype) -> Any:
        return single_file.load_network(self.file, self.path, part, self.parts[part], dtype)


def open_checkpoint(
    model: str, layout: str | None = None, allow_pickle: bool = False, half: bool = False, download: bool = True
) -> Checkpoint | None:
    """The checkpoint that a prior's `model` names, checked, with nothing loaded yet.

    Args:
        model: toybox, toybox-latent, an alias, a hub id, a folder, or a single file.
        layout: for a single file, where its configs come from; its family's own repository by default.
        half: prefer weights that are stored in half precision.
        download: whether the hub may be asked; False gives None for what is not on this machine.
    Raises:
        UserError: there is nothing of that name, or it is not whole.
    """
    found = folders.local(model)
    if found is None:
        if layout is not None:
            raise UserError(f"prior.layout is for a single file, and prior.model {model!r} is none")
        found = _from_hub(model, "prior.model", allow_pickle, half, download)
        return None if found is None else Checkpoint(found, allow_pickle, half)
    if found.is_dir():
        if layout is not None:
            raise UserError(f"prior.layout is for a single file, and prior.model {found} is a folder")
        return Checkpoint(found, allow_pickle, half)
    if found.suffix not in {".safetensors", *PICKLES}:
        raise UserError(f"prior.model {found} is neither a folder nor a .safetensors file")
    file = TensorFile(found, allow_pickle)
    layout = layout or single_file.layout_of(file)
    configs = folders.local(layout, "prior.layout") or _from_hub(layout, "prior.layout", False, half, download, True)
    if configs is None:
        return None
    if not configs.is_dir():
        raise UserError(f"prior.layout {configs} is not a folder in diffusers layout")
    return SingleFile(file, configs)


def predicted_kind(scheduler: dict[str, Any], where: Any) -> Kind:
    """What a network predicts, from the config of its scheduler.

    Raises:
        UserError: a `prediction_type` that is not known.
    """
    flow = str(scheduler.get("_class_name", "")).startswith("FlowMatch")
    name = scheduler.get("prediction_type", "flow_prediction" if flow else "epsilon")
    if name not in _KINDS:
        raise UserError(f"{where}: prediction_type {name!r} is not one of {', '.join(_KINDS)}")
    return _KINDS[name]


def codec_of(checkpoint: Checkpoint, unet: Any, dtype: torch.dtype) -> PatchCodec | LatentCodec:
    """The way from pictures to the denoiser's space: patches, an autoencoder, or pixels as they are.

    Raises:
        UserError: its part of the checkpoint cannot be loaded.
    """
    if "patches" in checkpoint.parts:
        return PatchCodec.from_config(checkpoint.config("patches"))
    if "vae" not in checkpoint.parts:
        return PatchCodec(channels=unet.config.in_channels)
    overflows = unet.config.addition_embed_type == "text_time" and checkpoint.config("vae").get("force_upcast", True)
    if overflows and dtype == torch.float16:  # SDXL's first autoencoder gives NaN in float16
        dtype = torch.float32
    return LatentCodec(checkpoint.network("vae", dtype))


def _from_hub(
    model: str, key: str, allow_pickle: bool, half: bool, download: bool, texts_only: bool = False
) -> Path | None:
    place = source(model, key)

    def check(path: Path) -> None:
        folders.check(path, folders.read_index(path), allow_pickle, texts_only)

    if not download:
        return hub.cached(place, check)
    return hub.fetch(place, check, half, texts_only, allow_pickle)
