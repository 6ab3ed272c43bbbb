"""Files of weights: found in a network's folder, and checked without being loaded."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

from distill3d.core.errors import UserError

PICKLES = {".bin", ".ckpt", ".pt", ".pth"}
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}  # what weights may be stored as
_HEADER_LIMIT = 100_000_000  # bytes, as the format's own reader has it


def weights(folder: Path, allow_pickle: bool = False, half: bool = False) -> tuple[list[Path], str | None]:
    """The checked files of one network, and their variant ("fp16") or None.

    Args:
        allow_pickle: take pickled weights where there are no others.
        half: prefer the variant in half precision where there are both.
    Raises:
        UserError: a file is missing or truncated, or the weights are only there as a pickle.
    """
    for variant in ("fp16", None) if half else (None, "fp16"):
        files, listed = _files(folder, variant)
        if files:
            for file in files:
                check_safetensors(file)
            if listed:
                check_shards(files, listed)
            return files, variant
    pickled = sorted(f for f in folder.iterdir() if f.suffix in PICKLES) if folder.is_dir() else []
    if pickled and allow_pickle:
        return pickled, None
    if pickled:
        raise UserError(
            f"{folder} holds pickled weights only ({pickled[0].name}), which can run code; convert to safetensors, "
            f"or say prior.allow_pickle=true if you trust where they come from"
        )
    raise UserError(f"prior file {folder / (stem(folder.name) + '.safetensors')} is missing")


def stem(part: str) -> str:
    """How the files of a part's weights begin, as its library names them."""
    return "model" if part.startswith(("text_encoder", "image_encoder")) else "diffusion_pytorch_model"


def header(file: Path) -> dict[str, Any]:
    """Name to dtype, shape and place of every tensor in a safetensors file; its metadata as `__metadata__`.

    Raises:
        UserError: missing, truncated or not such a file.
    """
    if not file.is_file():
        raise UserError(f"prior file {file} is missing")
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
        if 8 + length > size or length > _HEADER_LIMIT:
            raise UserError(f"prior file {file} is truncated or not safetensors ({size} bytes)")
        try:
            entries = json.loads(stream.read(length))
            end = max((v["data_offsets"][1] for k, v in entries.items() if k != "__metadata__"), default=0)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"prior file {file} is not safetensors: its header cannot be read") from error
    if 8 + length + end != size:
        raise UserError(f"prior file {file} is truncated: {size} bytes of {8 + length + end}")
    return entries


def check_safetensors(file: Path) -> None:
    """The header of a safetensors file can be read, tells the file's true length, and names floating-point weights.

    Raises:
        UserError: missing, truncated, not such a file, or stored in a number format that is not read.
    """
    for name, entry in header(file).items():
        if name == "__metadata__" or name.endswith("position_ids"):  # a table of 0, 1, 2 ..., in old checkpoints
            continue
        dtype, shape, (start, end) = entry.get("dtype"), entry.get("shape", []), entry["data_offsets"]
        if dtype not in _BYTES:
            raise UserError(f"prior file {file}: {name} is stored as {dtype}; {', '.join(_BYTES)} are read")
        if end - start != math.prod(shape) * _BYTES[dtype]:
            raise UserError(f"prior file {file}: {name} has {end - start} bytes, its shape {shape} needs others")


def check_shards(files: list[Path], listed: dict[str, str]) -> None:
    """Every shard holds the tensors that the index says, and no others.

    Libraries believe the index: a tensor that it lists and no shard holds would be whatever lay in memory.

    Args:
        listed: the index's `weight_map`, a tensor's name to its file's.
    Raises:
        UserError: naming the first tensor that is missing, or one too many.
    """
    for file in files:
        stored = {name for name in header(file) if name != "__metadata__" and not name.endswith("position_ids")}
        wanted = {name for name, shard in listed.items() if shard == file.name and not name.endswith("position_ids")}
        if wanted - stored:
            raise UserError(f"prior file {file} lacks {min(wanted - stored)!r}, which its index lists")
        if stored - wanted:
            raise UserError(f"prior file {file} holds {min(stored - wanted)!r}, which its index does not list there")


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        UserError: missing, or not a JSON object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"prior file {file} is missing") from error
    except (ValueError, OSError) as error:
        raise UserError(f"prior file {file} is not readable JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"prior file {file} should hold a JSON object")
    return content


def _files(folder: Path, variant: str | None) -> tuple[list[Path], dict[str, str]]:
    """The files of one variant that are listed or there: one, or the shards that an index names, with its map."""
    tail = f".{variant}" if variant else ""
    single = folder / f"{stem(folder.name)}{tail}.safetensors"
    if single.is_file():
        return [single], {}
    index = folder / f"{stem(folder.name)}.safetensors.index{tail}.json"
    if not index.is_file():
        return [], {}
    content = read_json(index).get("weight_map")
    if not isinstance(content, dict) or not content:
        raise UserError(f"prior file {index} has no weight_map")
    listed = {str(tensor): str(name) for tensor, name in content.items()}
    names = sorted(set(listed.values()))
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise UserError(f"prior file {index} names {outside[0]!r}, which is not a file beside it")
    return [folder / name for name in names], listed
