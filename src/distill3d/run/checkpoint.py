"""Checkpoints that go on with the same bits: tensors in safetensors, everything else in JSON, nothing pickled.

checkpoints/step-000200/tensors.safetensors    parameters, buffers, optimizer moments, generator states
checkpoints/step-000200/state.json             step, the optimizer's numbers, sizes and SHA-256 of both files
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.files.atomic import written
from distill3d.run.folder import RunFolder
from distill3d.systems.base import System

FORMAT = 1
TENSORS, STATE = "tensors.safetensors", "state.json"


class IncompleteCheckpoint(Exception):
    """A folder that is not, or no longer, a whole checkpoint."""


def save(folder: RunFolder, step: int, system: System, optimizer: torch.optim.Optimizer, keep: int = 2) -> Path:
    """Writes the state after `step` steps and removes all but the newest `keep` checkpoints.

    The same state gives the same bytes: no times, no paths.

    Raises:
        UserError: it cannot be written; earlier checkpoints are untouched.
    """
    tensors: dict[str, Tensor] = {}
    state = {
        "format": FORMAT,
        "step": step,
        "system": flatten(system.own_state(), "system", tensors),
        "extra": flatten(system.extra_state(), "extra", tensors),
        "optimizer": flatten(optimizer.state_dict(), "optimizer", tensors),
        "generators": flatten(generator_states(system), "generators", tensors),
    }
    data = save_tensors({name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()})
    state["tensors"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    state["sha256"] = _digest(state)
    path = folder.checkpoints / f"step-{step:06d}"
    shutil.rmtree(path, ignore_errors=True)  # only ever an earlier writing of the same state
    with written(path) as temporary:
        temporary.mkdir()
        (temporary / TENSORS).write_bytes(data)
        (temporary / STATE).write_text(json.dumps(state, indent=1, sort_keys=True))
    for old in _by_step(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return path


def latest(folder: RunFolder) -> Path | None:
    """The newest whole checkpoint. Those that are not whole are removed, so that nothing ever reads them."""
    for path in reversed(_by_step(folder)):
        try:
            read(path)
            return path
        except IncompleteCheckpoint:
            shutil.rmtree(path)
    return None


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a checkpoint holds: its state and its tensors, verified against their digests.

    Raises:
        IncompleteCheckpoint: a file is missing, truncated or changed.
    """
    try:
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        data = (path / TENSORS).read_bytes()
        if state["sha256"] != _digest({key: value for key, value in state.items() if key != "sha256"}):
            raise IncompleteCheckpoint(f"{path / STATE} was changed")
        if hashlib.sha256(data).hexdigest() != state["tensors"]["sha256"]:
            raise IncompleteCheckpoint(f"{path / TENSORS} is truncated or was changed")
        return state, load_tensors(data)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise IncompleteCheckpoint(f"{path}: {error}") from error


def restore(path: Path, system: System) -> tuple[int, Any]:
    """Puts parameters, buffers, extra state and generators back into `system`.

    The optimizer is made afterwards, from the parameters that are then there (their number may have changed).

    Returns:
        The number of steps done, and the optimizer's `state_dict`.
    """
    state, tensors = read(path)
    if state["format"] != FORMAT:
        raise UserError(f"{path} is of checkpoint format {state['format']}, this version reads {FORMAT}")
    try:
        system.load_own_state(unflatten(state["system"], tensors))
        system.load_extra_state(unflatten(state["extra"], tensors))
        set_generator_states(system, unflatten(state["generators"], tensors))
    except (RuntimeError, KeyError) as error:
        first = str(error).strip().replace("\n", " ")
        raise UserError(f"{path} does not fit the config of its run ({first})") from error
    return state["step"], unflatten(state["optimizer"], tensors)


def generator_states(system: System) -> dict[str, Tensor]:
    """The states of the system's generators and of torch's own, uint8 [N] each."""
    states = {f"system.{name}": generator.get_state() for name, generator in system.generators().items()}
    states["torch.cpu"] = torch.get_rng_state()
    if system.device.type == "cuda":
        states["torch.cuda"] = torch.cuda.get_rng_state(system.device)
    return states


def set_generator_states(system: System, states: dict[str, Tensor]) -> None:
    """Takes back what `generator_states` gave."""
    for name, generator in system.generators().items():
        generator.set_state(states[f"system.{name}"])
    torch.set_rng_state(states["torch.cpu"])
    if "torch.cuda" in states and system.device.type == "cuda":
        torch.cuda.set_rng_state(states["torch.cuda"], system.device)


def flatten(tree: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """`tree` as JSON can hold it, its tensors moved into `tensors` under dotted names."""
    if isinstance(tree, Tensor):
        tensors[name] = tree
        return {"tensor": name}
    if isinstance(tree, dict):
        return {"dict": [[key, flatten(value, f"{name}.{key}", tensors)] for key, value in tree.items()]}
    if isinstance(tree, (list, tuple)):
        kind = "tuple" if isinstance(tree, tuple) else "list"
        return {kind: [flatten(value, f"{name}.{i}", tensors) for i, value in enumerate(tree)]}
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return tree
    raise TypeError(f"a checkpoint holds tensors, numbers and strings, not {type(tree).__name__} at {name}")


def unflatten(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of `flatten`. Every tensor is a copy with memory of its own."""
    if not isinstance(tree, dict):
        return tree
    ((kind, inside),) = tree.items()
    if kind == "tensor":
        return tensors[inside].clone()
    if kind == "dict":
        return {key: unflatten(value, tensors) for key, value in inside}
    items = [unflatten(value, tensors) for value in inside]
    return tuple(items) if kind == "tuple" else items


def _by_step(folder: RunFolder) -> list[Path]:
    found = [path for path in folder.checkpoints.glob("step-*") if re.fullmatch(r"step-\d+", path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def _digest(state: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
