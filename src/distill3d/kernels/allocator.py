"""glibc's allocator, told to keep large blocks instead of handing them back to the kernel.

By default every large temporary of a training step is mapped afresh and page-faults on first touch; on a CPU that can
take more time than the arithmetic. glibc reads its settings once, when a process starts, so a process that wants them
runs itself again. Import nothing heavy here: the command line calls this before torch is loaded.

OMP_WAIT_POLICY is left alone: with "passive", torch's many short parallel regions slowed the prior by a third.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",  # bytes: blocks up to 4 GiB come from the heap, not from mmap
    "MALLOC_TRIM_THRESHOLD_": "17179869184",  # bytes: the heap is not trimmed below 16 GiB free at its top
    "MALLOC_TOP_PAD_": "268435456",  # bytes: it grows by 256 MiB at a time
}
OPT_OUT = "DISTILL3D_ALLOCATOR"  # "default" leaves the allocator alone


def is_quiet() -> bool:
    """Whether this process started with the settings (setting them later has no effect, and does not count)."""
    try:
        started_with = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return _is_glibc() and all(f"{name}={value}".encode() in started_with for name, value in SETTINGS.items())


def restart_quietly() -> None:
    """Runs this process again, same interpreter and arguments, with the settings in its environment.

    Returns, having done nothing, where that is already so, where the allocator was set by somebody else, where
    the C library is not glibc, or where DISTILL3D_ALLOCATOR=default. Otherwise it does not return. The process keeps
    its id; programs that it starts inherit the settings. Call it first: whatever ran before runs twice.
    """
    arguments = sys.orig_argv[1:]
    set_already = any(name in os.environ for name in SETTINGS if name.startswith("MALLOC"))
    if os.environ.get(OPT_OUT) == "default" or set_already:
        return
    if not _is_glibc() or not sys.executable or not arguments:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *arguments], {**SETTINGS, **os.environ})


def _is_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):
        return False
