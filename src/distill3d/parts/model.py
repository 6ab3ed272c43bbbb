"""The part models of one folder: SPAGHETTI's network, SALAD's two phases, and the words for parts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import distill3d
from distill3d.core.errors import UserError
from distill3d.parts.naming import PartNamer
from distill3d.parts.network import PartNetwork, PartSizes
from distill3d.parts.salad import Salad, SaladSizes

Network = TypeVar("Network", bound=nn.Module)

TOYBOX = "toybox"
NETWORK, NAMES, PHASES = "network.safetensors", "names.safetensors", ("extrinsics", "intrinsics", "both")


@dataclass(frozen=True)
class PartModel:
    """What generates and draws shapes of parts; networks are in evaluation mode, without gradients.

    Args:
        network: SPAGHETTI.
        salad: SALAD's phases, or None where the folder has none.
        namer: which word of the world a part answers to, or None.
    """

    network: PartNetwork
    salad: Salad | None
    namer: PartNamer | None

    def generator(self) -> Salad:
        """Raises:
        UserError: the folder has no SALAD.
        """
        if self.salad is None:
            raise UserError("these part models hold no SALAD: shapes can be inverted and moved, not generated")
        return self.salad


def model_folder(model: str | Path) -> Path:
    """The folder that a name stands for: "toybox" is the embedded one.

    Raises:
        UserError: there is no such folder, or it holds no part models.
    """
    folder = Path(distill3d.__file__).parent / "toybox" / "part_weights" if str(model) == TOYBOX else Path(model)
    if not (folder / "config.json").is_file() or not (folder / NETWORK).is_file():
        raise UserError(f"{model}: not {TOYBOX!r} and not a folder with config.json and {NETWORK} of part models in it")
    return folder


def load_network(model: str | Path = TOYBOX) -> PartNetwork:
    """SPAGHETTI's network alone; see `load_part_model`."""
    folder = model_folder(model)
    network = PartNetwork(PartSizes(**_config(folder)["network"]))
    return _filled(network, folder / NETWORK)


def load_part_model(model: str | Path = TOYBOX, single: bool = False) -> PartModel:
    """Everything in a folder.

    Args:
        single: the single-phase ablation in place of SALAD's two phases.
    Raises:
        UserError: no such folder, or a file in it that does not fit its config.
    """
    folder = model_folder(model)
    config = _config(folder)
    namer = PartNamer(tuple(config["names"]), config["network"]["intrinsics"]) if "names" in config else None
    if namer is not None:
        _filled(namer, folder / NAMES)
    salad = None
    phases = ("both",) if single else ("extrinsics", "intrinsics")
    if "salad" in config and all((folder / f"{phase}.safetensors").is_file() for phase in phases):
        salad = Salad(SaladSizes(**config["salad"]), tuple(config["vocabulary"]), single)
        tensors: dict[str, Tensor] = {}
        for phase in phases:
            tensors |= load_file(folder / f"{phase}.safetensors")
        _fill(salad, tensors, folder)
    elif single:
        raise UserError(f"{folder} holds no single-phase model (both.safetensors)")
    return PartModel(load_network(folder), salad, namer)


def save_network(network: PartNetwork, folder: Path) -> None:
    """Write the network in half precision to FOLDER, and its sizes to FOLDER/config.json."""
    _save(network.state_dict(), folder / NETWORK)
    _note(folder, {"network": asdict(network.sizes)})


def save_phase(salad: Salad, phase: str, folder: Path) -> None:
    """Write one phase of SALAD, with the scales, in half precision; and its sizes to FOLDER/config.json."""
    own = {k: v for k, v in salad.state_dict().items() if k.startswith((phase + ".", "scales."))}
    _save(own, folder / f"{phase}.safetensors")
    _note(folder, {"salad": asdict(salad.sizes), "vocabulary": list(salad.vocabulary)})


def save_namer(namer: PartNamer, folder: Path) -> None:
    """Write the words for parts."""
    _save(namer.state_dict(), folder / NAMES)
    _note(folder, {"names": list(namer.names)})


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # The scales of the numbers stay exact: half precision would move every generated shape.
    halves = {k: v if k.startswith("scales.") else v.half() for k, v in tensors.items()}
    save_file({k: v.detach().contiguous() for k, v in halves.items()}, path)


def _note(folder: Path, entries: dict[str, object]) -> None:
    path = folder / "config.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(known | entries, indent=2) + "\n")


def _config(folder: Path) -> dict[str, dict]:
    try:
        config = json.loads((folder / "config.json").read_text())
        config["network"]["parts"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{folder / 'config.json'} is not the config of part models ({error})") from error
    return config


def _filled(network: Network, path: Path) -> Network:
    try:
        tensors = load_file(path)
    except Exception as error:  # whatever the format's reader meets
        raise UserError(f"{path} cannot be read ({error})") from error
    return _fill(network, tensors, path)


def _fill(network: Network, tensors: dict[str, Tensor], where: Path) -> Network:
    try:
        network.load_state_dict({k: v.float() for k, v in tensors.items()})
    except RuntimeError as error:
        raise UserError(f"{where} does not fit its config.json: {str(error).splitlines()[-1].strip()}") from error
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network.eval()
