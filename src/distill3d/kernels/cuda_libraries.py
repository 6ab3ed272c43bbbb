"""The field's CUDA libraries, where they are installed and work: asked for here, once a process."""

from __future__ import annotations

import importlib
import os
from functools import lru_cache
from typing import Any

OPT_OUT = "DISTILL3D_CUDA_LIBRARIES"  # "none": plain torch on CUDA, to see whether a library is at fault


@lru_cache(maxsize=1)
def nerfacc() -> Any | None:
    """nerfacc with its kernels, or None. The first call may compile them, which takes minutes."""
    if os.environ.get(OPT_OUT) == "none":
        return None
    try:
        library, backend = (importlib.import_module(name) for name in ("nerfacc", "nerfacc.cuda._backend"))
    except (ImportError, OSError, RuntimeError):
        return None
    return library if backend._C is not None else None  # None: neither built with the package nor nvcc to build it


@lru_cache(maxsize=1)
def tinycudann() -> Any | None:
    """tiny-cuda-nn's torch module, or None. It refuses to import without a device (OSError) or for another one."""
    if os.environ.get(OPT_OUT) == "none":
        return None
    try:
        return importlib.import_module("tinycudann")
    except (ImportError, OSError, RuntimeError, NameError):  # NameError: its own, built for another device
        return None
