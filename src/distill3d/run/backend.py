"""What a run computes with: device, threads, and reproducible kernels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from distill3d.core.errors import UserError
from distill3d.core.threads import use_threads


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA where there is some, else the CPU.

    Raises:
        UserError: the device is not there.
    """
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda", 0) if there else torch.device("cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= there:
        raise UserError(f"device {name!r} is not there ({there} CUDA devices found); use device=auto or device=cpu")
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def count_threads(wanted: int | str) -> int:
    """`auto` is every core that this process may use, or as many as OMP_NUM_THREADS allows.

    Threads that wait for each other spin: on cores that others use too, two are far slower than one.
    """
    if wanted != "auto":
        return int(wanted)
    cores, allowed = len(os.sched_getaffinity(0)), os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(allowed)) if allowed.isdecimal() and int(allowed) > 0 else cores


@contextmanager
def reproducible(threads: int | str) -> Iterator[None]:
    """Inside, the same seed gives the same bits wherever torch knows how (elsewhere it warns), on so many threads.

    Torch's settings are put back afterwards: the caller's program goes on as it was.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by cuBLAS when it starts
    threads_before, mode_before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    try:
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # costs time only
        torch.set_deterministic_debug_mode("warn")  # use_deterministic_algorithms imports torch's compiler first: 2.4 s
        use_threads(count_threads(threads))
        yield
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        torch.set_deterministic_debug_mode(mode_before)
        use_threads(threads_before)
