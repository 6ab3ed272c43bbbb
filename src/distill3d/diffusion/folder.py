"""Folders in diffusers layout: checked before anything is loaded, and loaded without running any code in them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import distill3d
from distill3d.core.errors import UserError
from distill3d.diffusion.aliases import EMBEDDED, source
from distill3d.diffusion.classes import IGNORED, NETWORKS, check_part, get_class
from distill3d.diffusion.weight_files import read_json, weights

_NEEDED = ("unet", "scheduler", "tokenizer", "text_encoder")
# What libraries leave in a checkpoint and no network needs: tables of 0, 1, 2 ..., and the words of a tied embedding.
_SPARE = ("position_ids", "encoder.embed_tokens.weight", "decoder.")


def local(model: str, key: str = "prior.model") -> Path | None:
    """The folder or file on this machine that a name stands for; None for an alias or a hub id.

    Raises:
        UserError: it can only be a path, and there is nothing there.
    """
    if model in EMBEDDED:
        return Path(distill3d.__file__).parent / "toybox" / EMBEDDED[model]
    path = Path(model).expanduser()
    if path.exists():
        return path
    if model.startswith((".", "/", "~")) or path.suffix in {".safetensors", ".ckpt"}:
        raise UserError(f"{key} {model}: no such file or folder")
    source(model, key)
    return None


def read_index(folder: Path) -> dict[str, str]:
    """Class name of each part that `model_index.json` lists, by the part's name.

    Raises:
        UserError: no index, or a part, a class or a module that this prior does not know.
    """
    if not folder.is_dir():
        raise UserError(f"prior folder {folder} does not exist; it should hold a model in diffusers layout")
    parts: dict[str, str] = {}
    for name, entry in read_json(folder / "model_index.json").items():
        if name.startswith("_") or name in IGNORED or not isinstance(entry, list) or entry[-1:] in ([None], []):
            continue
        parts[name] = check_part(folder, name, entry)
    for name in _NEEDED:
        if name not in parts:
            raise UserError(f"{folder / 'model_index.json'} does not list {name!r}")
    return parts


def check(folder: Path, parts: dict[str, str], allow_pickle: bool = False, texts_only: bool = False) -> None:
    """Every file that loading will need is there and whole.

    Args:
        texts_only: the weights come from elsewhere.
    Raises:
        UserError: naming the first file that is missing, truncated, or only there in pickled form.
    """
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    check_part(folder, "scheduler", [scheduler.get("_class_name", parts["scheduler"])])
    for name, class_name in parts.items():
        if class_name in NETWORKS:
            check_network(folder / name, class_name, allow_pickle, texts_only)
        elif name.startswith("tokenizer"):
            _check_tokenizer(folder / name)
        elif name == "patches":
            read_json(folder / name / "config.json")


def check_network(folder: Path, class_name: str, allow_pickle: bool = False, texts_only: bool = False) -> None:
    """The config and the weights of one network are there, whole, and of the class that is expected.

    Raises:
        UserError: naming what is missing, truncated or of another class.
    """
    config = read_json(folder / "config.json")
    named = config.get("_class_name") or (config.get("architectures") or [class_name])[0]
    same = {class_name, "T5ForConditionalGeneration"} if class_name == "T5EncoderModel" else {class_name}
    if named not in same | ({"CLIPModel"} if class_name.startswith("CLIP") else set()):
        raise UserError(f"{folder / 'config.json'} is of class {named!r}, where {class_name} is expected")
    if not texts_only:
        weights(folder, allow_pickle)


_ALIGNMENT = 64  # bytes: where torch puts what it allocates


def load_network(
    folder: Path, name: str, class_name: str, dtype: torch.dtype, allow_pickle: bool = False, half: bool = False
) -> Any:
    """One network of a checked folder, frozen and in evaluation mode.

    Args:
        name: the network's subfolder; "" for a folder that is one network.
    Raises:
        UserError: the weights do not fit the network that `config.json` describes, by a tensor too few or too many.
    """
    import diffusers  # imported when needed: together they take seconds, and a listing needs neither
    import transformers

    path = folder / name if name else folder
    files, variant = weights(path, allow_pickle, half)
    options: dict[str, Any] = {"variant": variant, "local_files_only": True, "output_loading_info": True}
    options["ignore_mismatched_sizes"] = True  # they are told of below, by name
    options["use_safetensors"] = files[0].suffix == ".safetensors"  # a pickle is read with weights_only by both
    if NETWORKS[class_name] == "transformers":
        options |= {"dtype": dtype}
    else:
        options |= {"low_cpu_mem_usage": False, "torch_dtype": dtype}
    try:
        with _quiet(transformers.utils.logging), _quiet(diffusers.utils.logging):
            network, found = get_class(class_name).from_pretrained(str(path), **options)
    except Exception as error:  # a pickle that is refused, a config that makes no network: anything is possible here
        raise UserError(f"{path} cannot be loaded as {class_name}: {_reason(error)}") from error
    missing = [*sorted(found["missing_keys"]), *(m[0] for m in found["mismatched_keys"])]
    if missing:
        raise UserError(f"{path}: weights do not fit config.json, {missing[0]!r} is missing or misshapen")
    extra = sorted(key for key in found["unexpected_keys"] if not any(spare in key for spare in _SPARE))
    if extra:
        raise UserError(f"{path}: weights do not fit config.json, which has no place for {extra[0]!r}")
    return aligned(network).eval().requires_grad_(False)


def aligned(network: Any) -> Any:
    """The network, its weights in memory of torch's own. A view of a file lies anyhow, and sums of matrix products come
    out a bit differently from one place to the next: the same seed would not give the same bytes."""
    for tensor in [*network.parameters(), *network.buffers()]:
        if tensor.data_ptr() % _ALIGNMENT:
            tensor.data = tensor.data.clone()
    return network


def load_tokenizer(folder: Path, class_name: str, name: str = "tokenizer") -> Any:
    """The tokenizer of a checked folder.

    Raises:
        UserError: its files do not make a tokenizer.
    """
    path = folder / name
    try:
        return get_class(class_name).from_pretrained(str(path), local_files_only=True)
    except Exception as error:  # the tokenizers library raises plain Exception
        reason = _reason(error)
        if "sentencepiece" in str(error).lower():
            reason = "it needs the package sentencepiece: pip install sentencepiece"
        raise UserError(f"{path} cannot be loaded as {class_name}: {reason}") from error


def _check_tokenizer(folder: Path) -> None:
    read_json(folder / "tokenizer_config.json")
    old_form = all((folder / file).is_file() for file in ("vocab.json", "merges.txt"))
    if not (old_form or (folder / "spiece.model").is_file()) or (folder / "tokenizer.json").exists():
        read_json(folder / "tokenizer.json")


def _reason(error: Exception) -> str:
    """One line: the first, and what follows a colon at its end, as in torch's lists of tensors that do not fit."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


@contextlib.contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """No progress bar and no warnings of the library's own among ours: what matters is raised."""
    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
