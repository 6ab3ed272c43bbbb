"""What a CUDA machine has to say: agreement with the CPU, speed against the field's libraries, a real capture.

Runs the tests marked cuda (each compares CUDA with the CPU), times every kernel against gsplat / nerfacc / nvdiffrast /
tiny-cuda-nn called directly, reconstructs a capture at full resolution where --capture names one, and writes
docs/gpu-report.md. Under ten minutes. Without a CUDA device it says so and exits 0; else 1 if a test failed.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from figures import CannotRun, machine

ROOT = Path(__file__).resolve().parent.parent
MOST_SECONDS, TEST_SECONDS, LAST_WORDS = 570, 240, 40  # in all; for the tests; for a stopped run to write its report
ROUNDS = 20


def run_tests(seconds: float) -> tuple[list[str], bool]:
    """One line a test and a summary; whether none failed."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "cuda",
        "-rA",
        "-q",
        "--tb=line",
        "-p",
        "no:cacheprovider",
        "tests",
    ]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return [f"stopped after {seconds:.0f} s: not finished"], False
    lines = done.stdout.splitlines()
    told = [line for line in lines if line.split(" ")[0] in ("PASSED", "FAILED", "SKIPPED", "ERROR")]
    return [*told, *lines[-1:]], done.returncode == 0


def milliseconds(job: Callable[[], object]) -> float:
    """Median of the device's time, by CUDA events."""
    for _ in range(3):
        job()
    taken = []
    for _ in range(ROUNDS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        job()
        end.record()
        end.synchronize()
        taken.append(start.elapsed_time(end))
    return statistics.median(taken)


def time_kernels() -> tuple[list[str], list[str]]:
    """Rows of the table, and what could not run."""
    from gpu_jobs import JOBS

    rows, missing = [], []
    for name, (against, prepare) in JOBS.items():
        try:
            ours, peer = (milliseconds(job) for job in prepare())
        except Exception as problem:  # one library that fails must not silence the others
            missing.append(f"{name} against {against}: {one_line(problem)}")
        else:
            rows.append(f"| {name} | {ours:.3f} | {against} | {peer:.3f} | {peer / ours:.2f} |")
        torch.cuda.empty_cache()
    return rows, missing


def one_line(problem: Exception) -> str:
    """What went wrong, after its kind where that is not said already."""
    said = str(problem).strip().splitlines()[:1]
    return " ".join([*([] if isinstance(problem, CannotRun) else [type(problem).__name__]), *said])


def reconstruct(capture: Path, kind: str, seconds: float) -> tuple[str, str | None]:
    """A row of the table (empty where it failed), and why it failed. Stops the run politely when its time is over."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "distill3d.cli", "run", "reconstruct", f"data={capture}"]
        started = time.monotonic()
        child = subprocess.Popen(
            [*command, f"renderer.kind={kind}", "--out", str(out), "--quiet"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            said, _ = child.communicate(timeout=max(seconds - LAST_WORDS, 1))
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGINT)
            try:
                said, _ = child.communicate(timeout=LAST_WORDS)
            except subprocess.TimeoutExpired:
                child.kill()
                said, _ = child.communicate()
        taken = time.monotonic() - started
        numbers = [json.loads(line) for line in _lines(out / "metrics.jsonl")]
        quality = {key: value for line in numbers for key, value in line.items() if "psnr" in key}
        if not quality:
            why = next((line for line in reversed(said.splitlines()) if line.strip()), "no output")
            return "", f"reconstruct {capture} with {kind}: {why}"
        told = ", ".join(f"{key} {value:.2f}" for key, value in quality.items())
        return f"| {kind} | {numbers[-1].get('step', '?')} | {taken:.0f} | {told} |", None


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def report(about: dict[str, object], tests: list[str], rows: list[str], captures: list[str], missing: list[str]) -> str:
    """The whole of docs/gpu-report.md."""
    kernels = ["| job | ours, ms | against | it, ms | it / ours |", "| --- | --- | --- | --- | --- |", *rows]
    scenes = ["| renderer | steps | seconds | quality, dB |", "| --- | --- | --- | --- |", *captures]
    return "\n".join(
        [
            "# What a CUDA machine said",
            "",
            "Written by `benchmarks/gpu.py`. " + ", ".join(f"{key} {value}" for key, value in about.items()) + ".",
            "",
            "## Agreement of CUDA with the CPU: the tests marked cuda",
            "",
            *(f"    {line}" for line in tests),
            "",
            "## Speed against the libraries called directly",
            "",
            *(kernels if rows else ["None could be timed."]),
            "",
            "## A capture at full resolution",
            "",
            *(scenes if captures else ["None was reconstructed."]),
            "",
            "## What could not run",
            "",
            *([f"- {line}" for line in missing] or ["Everything ran."]),
            "",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--capture", type=Path, metavar="FOLDER", help="a capture to reconstruct, for example fox")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "gpu-report.md", metavar="FILE")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print(f"no CUDA device (torch {torch.__version__}): nothing was run, and no report was written")
        return 0
    end = time.monotonic() + MOST_SECONDS
    about = machine()
    print(", ".join(f"{key} {value}" for key, value in about.items()), flush=True)
    tests, passed = run_tests(TEST_SECONDS)
    print(*tests, sep="\n", flush=True)
    rows, missing = time_kernels()
    print(*rows, sep="\n", flush=True)
    captures: list[str] = []
    if options.capture is None:
        missing.append("no capture was reconstructed: name one with --capture FOLDER")
    else:
        for left, kind in ((2, "nerf"), (1, "gaussians")):
            row, problem = reconstruct(options.capture.resolve(), kind, (end - time.monotonic()) / left)
            captures += [row] if row else []
            missing += [problem] if problem else []
    print(*captures, *(f"could not run: {line}" for line in missing), sep="\n", flush=True)
    options.out.write_text(report(about, tests, rows, captures, missing))
    print(f"wrote {options.out}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
