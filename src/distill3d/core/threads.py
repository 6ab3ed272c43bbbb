"""How many threads torch and the kernels take, both at once."""

from __future__ import annotations

import numba
import torch


def use_threads(count: int) -> None:
    """Let torch, and numba's kernels, take `count` threads each from here on.

    The kernels come first: their threads are OpenMP's, as torch's are, and when numba starts them, at its first kernel
    or here, it sets OpenMP's number to as many as there are cores, behind torch's back. A torch that was told one
    thread before would take two again, and the second, which spins while it waits, is what other processes lack.
    """
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
    torch.set_num_threads(count)
