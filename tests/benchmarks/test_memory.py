"""Peak memory belongs to the program that is asked about."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
LARGE = 400 << 20  # bytes
# A program that holds much and starts another, which says its own peak by both ways.
PARENT = """
import subprocess, sys
held = bytearray({large})
held[::4096] = b"x" * len(held[::4096])
child = "import resource; from memory import peak_resident; "
child += "print(peak_resident(), 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
subprocess.run([sys.executable, "-c", child], check=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_program_does_not_begin_with_the_peak_of_whoever_started_it():
    command = [sys.executable, "-c", PARENT.format(large=LARGE)]
    said = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=True).stdout.split()
    peak, inherited = (int(word) for word in said)
    assert 1 << 20 < peak < LARGE / 4
    assert inherited > LARGE  # control: what the usual question answers


def test_what_has_ended_has_held_nothing(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from memory import peak_resident

    assert peak_resident() > 1 << 20
    assert peak_resident(2**30) == 0
