"""LoRA files: a low-rank change of a network's weights, added to them as they are loaded (Hu et al. 2022).

`W' = W + scale (alpha / r) B A`. Added once, it costs nothing afterwards, and a network with it is a plain network.
Read are the two ways in which these files name things: that of diffusers and PEFT (dotted module paths), and that of
kohya's trainer and the programs around it (underscores; the modules of diffusers or of ldm).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distill3d.core.errors import UserError
from distill3d.diffusion.ldm_names import unet_name
from distill3d.diffusion.options import LoraConfig
from distill3d.diffusion.tensor_file import TensorFile

DEFAULT_NAME = "pytorch_lora_weights.safetensors"  # of diffusers' training scripts
_NETWORKS = {  # how a name begins, and the part that it is of; the longest first
    "lora_te2_": "text_encoder_2",
    "lora_te1_": "text_encoder",
    "lora_unet_": "unet",
    "lora_te_": "text_encoder",
    "text_encoder_2.": "text_encoder_2",
    "text_encoder.": "text_encoder",
    "unet.": "unet",
}
_ENDS = {  # how a name ends, and which of the two factors it is
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".lora.down.weight": "down",
    ".lora.up.weight": "up",
    ".lora_linear_layer.down.weight": "down",
    ".lora_linear_layer.up.weight": "up",
    "_lora.down.weight": "down",
    "_lora.up.weight": "up",
    ".alpha": "alpha",
}


@dataclass
class Change:
    """One weight's change: `up` [out, r, ...], `down` [r, in, ...], and `alpha`, which is r where a file is silent."""

    name: str
    up: Tensor | None = None
    down: Tensor | None = None
    alpha: float | None = None
    rank_root: bool = False  # alpha / sqrt(r) instead of alpha / r (Kalajdzievski 2023)

    def delta(self) -> Tensor:
        """`(alpha / r) B A`, float32 [out, in * ...].

        Raises:
            UserError: one of the factors is missing, or they do not fit each other.
        """
        if self.up is None or self.down is None:
            raise UserError(f"{self.name!r} has only one of its two factors")
        up, down = self.up.float().flatten(1), self.down.float().flatten(1)
        if up.shape[1] != down.shape[0]:
            raise UserError(f"{self.name!r} has factors {list(self.up.shape)} and {list(self.down.shape)}")
        rank = down.shape[0]
        alpha = rank if self.alpha is None else self.alpha
        return alpha / (math.sqrt(rank) if self.rank_root else rank) * (up @ down)


def add_loras(sections: Sequence[LoraConfig], networks: dict[str, Any], allow_pickle: bool = False) -> None:
    """Add the files that a config names to the networks, by the names of their parts.

    Raises:
        UserError: a file that is not there, is no LoRA, or fits other networks.
    """
    for section in sections:
        path = find_lora(section.file)
        assert path is not None  # it was fetched, or an error told why not
        merge(TensorFile(path, allow_pickle), networks, section.scale)


def find_lora(model: str, download: bool = True) -> Path | None:
    """The file that a config names: a path, a folder that holds it, or OWNER/NAME[/FILE] on the hub.

    Raises:
        UserError: there is nothing of that name.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        path = path / DEFAULT_NAME
    if path.is_file():
        return path
    match = re.fullmatch(r"([A-Za-z0-9][\w.-]*/[\w.-]+?)(?:/([\w. /-]+\.\w+))?", model)
    if match is None or (path.parent.is_dir() and path.suffix):
        raise UserError(f"prior.lora file {path} does not exist")
    if not download:
        return None
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(match[1], match[2] or DEFAULT_NAME))
    except Exception as error:  # the hub's client has no common base for its errors
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"prior.lora {model!r} is not a file, not cached, and did not download: {reason}") from error


def read(file: TensorFile) -> dict[tuple[str, str], Change]:
    """The changes in a file, by the part and the module's path with underscores.

    Raises:
        UserError: names of another method, or none that are known.
    """
    facts = file.facts("lora_adapter_metadata")
    changes: dict[tuple[str, str], Change] = {}
    for name in sorted(file.shapes):
        end = next((e for e in _ENDS if name.endswith(e)), None)
        start = next((s for s in _NETWORKS if name.startswith(s)), None)
        if end is None or start is None:
            raise UserError(f"{file.path}: {name!r} is no part of a LoRA of a unet or a text encoder that is read here")
        part, module = _NETWORKS[start], name[len(start) : -len(end)].replace(".processor", "")
        key = (part, module.replace(".", "_"))
        change = changes.setdefault(key, Change(name, *_told(facts, part, module)))
        if _ENDS[end] == "alpha":
            change.alpha = float(file.tensor(name))
        else:
            setattr(change, _ENDS[end], file.tensor(name))
    if not changes:
        raise UserError(f"{file.path} is empty")
    return changes


@torch.no_grad()
def merge(file: TensorFile, parts: dict[str, Any], scale: float) -> int:
    """Add a file's changes, times `scale`, to the weights of the networks. Returns how many weights changed.

    All is checked before anything is added.

    Args:
        parts: the networks by the names of their parts: unet, text_encoder, text_encoder_2.
    Raises:
        UserError: a change that fits no weight.
    """
    modules = {part: _modules(part, network) for part, network in parts.items()}
    todo: list[tuple[Tensor, Change]] = []
    for (part, path), change in read(file).items():
        module = modules.get(part, {}).get(path)
        if module is None:
            raise UserError(f"{file.path}: {change.name!r} fits no weight of this prior's {part}")
        weight: Any = module.weight
        try:
            shape = change.delta().shape
        except UserError as error:
            raise UserError(f"{file.path}: {error}") from error
        if shape != weight.flatten(1).shape:
            raise UserError(f"{file.path}: {change.name!r} changes {list(shape)}, the weight is {list(weight.shape)}")
        todo.append((weight, change))
    for weight, change in todo:
        weight.copy_((weight.float() + scale * change.delta().reshape(weight.shape).to(weight.device)).to(weight.dtype))
    return len(todo)


def _told(facts: dict[str, Any], part: str, module: str) -> tuple[None, None, float | None, bool]:
    """What the file's metadata says of one module: alpha, and whether it is divided by the root of the rank."""
    if facts.get(f"{part}.use_dora"):
        raise UserError("a LoRA with magnitudes (DoRA) is not read here")
    alpha = facts.get(f"{part}.lora_alpha")
    for pattern, value in (facts.get(f"{part}.alpha_pattern") or {}).items():
        if module == pattern.removeprefix("^") or module.endswith("." + pattern.removeprefix("^")):
            alpha = value
    return None, None, None if alpha is None else float(alpha), bool(facts.get(f"{part}.use_rslora"))


def _modules(part: str, network: Any) -> dict[str, nn.Module]:
    """The modules with a weight matrix by every name that a file may give them, dots replaced by underscores."""
    found: dict[str, nn.Module] = {}
    named = {path: m for path, m in network.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))}
    for path, module in named.items():
        names = [path, path.removesuffix(".to_out.0") + ".to_out" if path.endswith(".to_out.0") else path]
        if part == "unet":
            names.append(unet_name(path, _layers(network), named))
        else:
            names += ["text_model." + path, path.removeprefix("text_model.")]
        found |= {name.replace(".", "_"): module for name in names}
    return found


def _layers(unet: Any) -> int:
    layers = unet.config.layers_per_block
    return layers if isinstance(layers, int) else 0  # no network with ldm's names has different numbers
