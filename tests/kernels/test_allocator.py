"""The allocator's settings arrive, once, and only where they are wanted."""

import json
import os
import subprocess
import sys

import pytest

from distill3d.kernels import allocator

PROGRAM = """
import json, os, sys
from distill3d.kernels import allocator
print("started", file=sys.stderr)
allocator.restart_quietly()
print(json.dumps([allocator.is_quiet(), sys.argv[1:], sys.flags.optimize, "torch" in sys.modules]))
"""

needs_glibc = pytest.mark.skipif(not allocator._is_glibc(), reason="the settings are glibc's")


def run(*arguments: str, **variables: str) -> tuple[list, int]:
    clean = {k: v for k, v in os.environ.items() if k not in allocator.SETTINGS and k != allocator.OPT_OUT}
    command = [sys.executable, "-O", "-c", PROGRAM, *arguments]
    done = subprocess.run(command, env={**clean, **variables}, capture_output=True, text=True, check=True)
    return json.loads(done.stdout), done.stderr.count("started")


@needs_glibc
def test_it_restarts_once_with_the_settings_and_the_same_arguments():
    (quiet, arguments, optimize, torch_loaded), starts = run("prompt=a red mushroom", "--out", "")
    assert (quiet, starts) == (True, 2)
    assert arguments == ["prompt=a red mushroom", "--out", ""]
    assert optimize == 1
    assert not torch_loaded, "importing the allocator must not load torch"


@pytest.mark.parametrize("variables", [{"DISTILL3D_ALLOCATOR": "default"}, {"MALLOC_TOP_PAD_": "0"}])
def test_it_leaves_alone_who_asks_for_it(variables):
    (quiet, *_), starts = run(**variables)
    assert (quiet, starts) == (False, 1)


@needs_glibc
def test_settings_made_by_somebody_else_count_and_do_not_restart():
    (quiet, *_), starts = run(**allocator.SETTINGS)
    assert (quiet, starts) == (True, 1)


def test_variables_set_after_the_start_do_not_count(monkeypatch):
    before = allocator.is_quiet()
    for name, value in allocator.SETTINGS.items():
        monkeypatch.setenv(name, value)
    assert allocator.is_quiet() == before
