"""What a training keeps on disk so that it can be stopped at any moment and go on as if it had not been."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from distill3d.core.errors import UserError

FILE = "training.safetensors"
_NUMBERS = "numbers"  # the one key of its metadata


def save_state(
    folder: Path, networks: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, numbers: Mapping[str, float]
) -> None:
    """Write networks, optimiser and a few numbers to FOLDER/training.safetensors, under a temporary name first."""
    tensors = {f"{name}.{k}": v for name, network in networks.items() for k, v in network.state_dict().items()}
    for i, parameter in enumerate(_parameters(optimizer)):
        for name, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{i}.{name}"] = value
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / (FILE + ".partial")
    save_file(tensors, partial, metadata={_NUMBERS: json.dumps(numbers, sort_keys=True)})  # more keys: in any order
    os.replace(partial, folder / FILE)


def load_state(
    folder: Path, networks: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer | None = None
) -> dict[str, float]:
    """Fill networks and optimiser from the last `save_state`; returns its numbers.

    Raises:
        UserError: there is none in `folder`, or it is of networks of another shape.
    """
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"{path} is missing: there is no training to resume in {folder}")
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        numbers = json.loads(file.metadata()[_NUMBERS])
    for name, network in networks.items():
        try:
            network.load_state_dict(_below(tensors, name))
        except RuntimeError as error:
            raise UserError(f"{path} holds a {name} of another shape than the one to train") from error
    for i, parameter in enumerate(_parameters(optimizer) if optimizer is not None else ()):
        state: dict[str, Any] = _below(tensors, f"optimizer.{i}")
        if state and optimizer is not None:
            moments = {k: v.to(parameter.device) for k, v in state.items() if k != "step"}
            layout = torch.channels_last if parameter.ndim == 4 else torch.preserve_format
            optimizer.state[parameter] = {k: v.to(memory_format=layout) for k, v in moments.items()}
            optimizer.state[parameter]["step"] = state["step"]
    return numbers


def falling_rate(step: int, steps: float, warmup: int, decay_from: float) -> float:
    """Share of the learning rate at a step: warm up, hold, and from the share `decay_from` of `steps` on fall linearly
    to 2 %."""
    fall = 1 - 0.98 * max(0.0, step / steps - decay_from) / (1 - decay_from)
    return min(1.0, (step + 1) / warmup) * max(fall, 0.02)


def log_row(folder: Path, row: dict[str, Any]) -> None:
    """Append a line to FOLDER/log.jsonl; missing folders are made."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _below(tensors: Mapping[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    prefix = name + "."
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
