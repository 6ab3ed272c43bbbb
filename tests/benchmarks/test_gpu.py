"""benchmarks/gpu.py where there is no GPU: it says so; and whatever cannot run is named in the report."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu

    return gpu


def test_without_a_device_it_says_so_and_writes_nothing(gpu, monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(tmp_path / "report.md")])
    assert gpu.main() == 0
    assert "no CUDA device" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_one_job_that_fails_does_not_silence_the_others(gpu, monkeypatch) -> None:
    import gpu_jobs
    from figures import CannotRun

    def missing():
        raise CannotRun("gsplat is not installed")

    def broken():
        raise RuntimeError("no kernel image\nlong story")

    jobs = {"a": ("gsplat", missing), "b": ("nerfacc", broken), "c": ("torch", lambda: (lambda: 2, lambda: 6))}
    monkeypatch.setattr(gpu_jobs, "JOBS", jobs)
    monkeypatch.setattr(gpu, "milliseconds", lambda job: job())
    rows, unable = gpu.time_kernels()
    assert rows == ["| c | 2.000 | torch | 6.000 | 3.00 |"]
    assert unable == ["a against gsplat: gsplat is not installed", "b against nerfacc: RuntimeError no kernel image"]
    text = gpu.report({"cuda": "none"}, ["1 passed"], rows, [], unable)
    assert all(line in text for line in (*rows, *unable, "1 passed"))


def test_a_capture_that_fails_is_named_with_the_reason(gpu, tmp_path) -> None:
    row, problem = gpu.reconstruct(tmp_path / "nothing", "nerf", 120)
    assert row == ""
    assert problem
    assert "nothing" in problem
