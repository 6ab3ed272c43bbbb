"""One file of named tensors, read tensor by tensor: safetensors, or a pickle that the caller trusts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.diffusion.weight_files import PICKLES, check_safetensors, header


class TensorFile:
    """Names, shapes and tensors of a file, of which only what is asked for is read into memory.

    Args:
        path: a .safetensors file, or with `allow_pickle` one of torch's own. Even then nothing in it is run: torch
            reads tensors and plain containers alone, and refuses the rest.
    Raises:
        UserError: missing, truncated, of another kind, or a pickle that is not allowed or not of tensors alone.
    """

    def __init__(self, path: Path, allow_pickle: bool = False) -> None:
        self.path = path
        self.metadata: dict[str, str] = {}
        self._pickled: dict[str, Tensor] | None = None
        self._open: Any = None
        if path.suffix in PICKLES:
            self._pickled = _unpickle(path, allow_pickle)
            self.shapes = {name: tuple(tensor.shape) for name, tensor in self._pickled.items()}
            return
        check_safetensors(path)
        entries = header(path)
        self.metadata = entries.pop("__metadata__", {}) or {}
        self.shapes = {name: tuple(entry["shape"]) for name, entry in entries.items()}

    def __contains__(self, name: str) -> bool:
        return name in self.shapes

    def tensor(self, name: str) -> Tensor:
        """The tensor of that name, in the file's own dtype."""
        if self._pickled is not None:
            return self._pickled[name]
        if self._open is None:
            from safetensors import safe_open

            self._open = safe_open(self.path, "pt")
        return self._open.get_tensor(name)

    def facts(self, key: str) -> dict[str, Any]:
        """The JSON object in one entry of the metadata; empty where there is none."""
        try:
            found = json.loads(self.metadata.get(key, "{}"))
        except (TypeError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def _unpickle(path: Path, allowed: bool) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"prior file {path} is missing")
    if not allowed:
        raise UserError(
            f"{path} is a pickle, which can run code; convert it to safetensors, "
            f"or say prior.allow_pickle=true if you trust where it comes from"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the file makes the reader stumble over
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} holds more than tensors, or is damaged, and was not read: {reason}") from error
    while isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise UserError(f"{path} does not hold tensors by name")
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
