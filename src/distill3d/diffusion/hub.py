"""Checkpoints on the Hugging Face hub: from the local cache where they are there, else downloaded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from distill3d.core.errors import UserError
from distill3d.diffusion.aliases import Source
from distill3d.diffusion.classes import PARTS
from distill3d.diffusion.weight_files import PICKLES, stem

_TEXT = {".json", ".txt", ".model"}  # configs, and the vocabularies of tokenizers


def fetch(
    source: Source,
    check: Callable[[Path], object],
    half: bool = False,
    texts_only: bool = False,
    allow_pickle: bool = False,
) -> Path:
    """The folder of a model: a cached copy that passes `check`, or a download of what a prior reads and no more.

    Args:
        check: raises UserError for a folder that is not whole.
        half: take the variant in half precision where the repository has one: half the download.
        texts_only: configs and tokenizers alone.
        allow_pickle: take pickled weights where there are no others.
    Raises:
        UserError: no whole copy is cached, and none of the repositories could be downloaded.
    """
    found = cached(source, check)
    return found if found is not None else _download(source, half, texts_only, allow_pickle)


def cached(source: Source, check: Callable[[Path], object]) -> Path | None:
    """The cached copy of a model that passes `check`, or None. Never touches the network."""
    from huggingface_hub import snapshot_download

    for hub_id in source.cached_ids:
        with contextlib.suppress(Exception):  # not in the cache, or not all of it: the next one decides
            folder = Path(snapshot_download(hub_id, local_files_only=True))
            check(folder)
            return folder
    return None


def wanted(names: Sequence[str], half: bool = False, texts_only: bool = False, allow_pickle: bool = False) -> list[str]:
    """Which of a repository's files a prior reads: texts, and of each network's weights one form alone.

    Of the two precisions the one asked for, where it is there; safetensors where there are any; nothing else.
    """
    by_folder: dict[str, list[str]] = {}
    for name in names:
        folder, _, file = name.rpartition("/")
        if folder in {"", "scheduler", *PARTS}:
            by_folder.setdefault(folder, []).append(file)
    chosen = []
    for folder, files in by_folder.items():
        take = [f for f in files if Path(f).suffix in _TEXT and ".index." not in f]
        if not texts_only and (folder in PARTS or "config.json" in files):
            take += _weights(files, stem(folder), half, allow_pickle)
        chosen += [f"{folder}/{file}".lstrip("/") for file in take]
    return sorted(chosen)


def _weights(files: Sequence[str], start: str, half: bool, allow_pickle: bool) -> list[str]:
    safe = [f for f in files if f.startswith(start) and (f.endswith(".safetensors") or ".safetensors.index" in f)]
    safe = [f for f in safe if "non_ema" not in f]
    small, full = [f for f in safe if ".fp16" in f], [f for f in safe if ".fp16" not in f]
    best = (small or full) if half else (full or small)
    if best or not allow_pickle:
        return best
    pickled = [f for f in files if Path(f).suffix in PICKLES and "non_ema" not in f and ".index." not in f]
    small, full = [f for f in pickled if ".fp16" in f], [f for f in pickled if ".fp16" not in f]
    return (small or full) if half else (full or small)


def _download(source: Source, half: bool, texts_only: bool, allow_pickle: bool) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    reasons = []
    for hub_id in source.hub_ids:
        try:
            names = HfApi().list_repo_files(hub_id)
            files = wanted(names, half, texts_only, allow_pickle)
            return Path(snapshot_download(hub_id, allow_patterns=files))
        except Exception as error:  # the hub's client has no common base for its errors
            reason = (str(error).splitlines() or [""])[0]
            reasons.append(f"{hub_id}: {reason or type(error).__name__}")
    note = f" ({source.note})" if source.note else ""
    raise UserError(f"prior.model is not a folder, not cached, and did not download: {'; '.join(reasons)}{note}")
