"""Torch and the kernels share OpenMP; who is told first matters (in processes of their own: it is told once)."""

import subprocess
import sys

import numba
import pytest

SCRIPT = """
import ctypes, pathlib
import numba, torch

openmp = ctypes.CDLL(str(next(pathlib.Path(torch.__file__).parent.glob("lib/libgomp*"))))
torch.get_num_threads()
{tell}
print(openmp.omp_get_max_threads())
"""
OURS = "from distill3d.core.threads import use_threads; use_threads(1)"
TORCH_FIRST = "torch.set_num_threads(1); numba.set_num_threads(1)"


def threads_of_openmp(tell: str) -> int:
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(tell=tell)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no OpenMP to ask: {done.stderr.strip().splitlines()[-1]}")
    return int(done.stdout)


def test_one_thread_is_one_thread():
    assert threads_of_openmp(OURS) == 1


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS == 1, reason="one core")
def test_numba_takes_torchs_threads_back_when_it_is_told_last():
    """What `use_threads` is there for. Where numba has another threading layer than OpenMP there is nothing to see."""
    found = threads_of_openmp(TORCH_FIRST)
    if found == 1:
        pytest.skip("numba does not share torch's OpenMP here")
    assert found == numba.config.NUMBA_NUM_THREADS
