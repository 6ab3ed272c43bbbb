"""How the scripts here speak: what they run on, how they time, one line a figure, the exit status.

def measure(options):                # options.quick, options.json
    seconds = interleaved({"peer": peer, "ours": ours}, rounds=5)
    yield Figure("job_name", median_ratio(seconds["peer"], seconds["ours"]), goal=25, unit="x")

if __name__ == "__main__":
    main(__doc__, measure)
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from distill3d.kernels import allocator


class CannotRun(Exception):
    """Something that the script needs is missing; the message says what, in one line."""


@dataclass(frozen=True)
class Figure:
    """One promised number.

    Args:
        name: as the issue names it.
        value: what was measured; None where a peer is missing.
        goal: what it should be at least, or at most where `at_most`.
        unit: "x" for ratios, "s", "ms" and so on; put after the value.
        out_of: for counts, how many there were: printed "19 of 24".
    """

    name: str
    value: float | None
    goal: float
    unit: str = ""
    out_of: int | None = None
    at_most: bool = False

    @property
    def verdict(self) -> str:
        if self.value is None or self.value != self.value:
            return "not measured"
        return "reached" if (self.value <= self.goal if self.at_most else self.value >= self.goal) else "short"

    def __str__(self) -> str:
        sign = "<=" if self.at_most else ">="
        value = "none" if self.value is None else f"{self.value:.4g}"
        of = "" if self.out_of is None or self.value is None else f" of {self.out_of}"
        unit = "" if not self.unit or self.value is None else f" {self.unit}"
        return f"figure {self.name} = {value}{of}{unit} (goal {sign} {self.goal:g}): {self.verdict}"


def machine() -> dict[str, Any]:
    """What this runs on: processor, cores, threads, torch, CUDA device, allocator, commit."""
    import torch

    processor = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), processor)
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "processor": processor or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "allocator": "quiet" if allocator.is_quiet() else "default",
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit or "none",
    }


def interleaved(
    jobs: dict[str, Callable[[], object]],
    rounds: int,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of every job in every round; the jobs take turns, so that a busy moment of the machine meets them all.

    Args:
        clock: `time.process_time` counts the processor's seconds alone, for one thread on a machine that others use.
    """
    for _ in range(warm_up):
        for job in jobs.values():
            job()
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            start = clock()
            job()
            seconds[name].append(clock() - start)
    return seconds


def median_ratio(peer: list[float], ours: list[float]) -> float:
    """Median over rounds of peer / ours: how many times faster ours is."""
    return statistics.median(p / o for p, o in zip(peer, ours, strict=True))


def milliseconds(seconds: list[float]) -> str:
    return f"{1e3 * statistics.median(seconds):.1f} ms"


def main(about: str, measure: Callable[[argparse.Namespace], Iterable[Figure]], **flags: dict[str, Any]) -> NoReturn:
    """Runs `measure`, prints its figures last, keeps the raw numbers; exits 0 all reached, 1 not all, 2 could not run.

    `flags` are further options for the command line: `views={"type": int, "default": 24}` adds `--views`.
    `measure` may put raw numbers into the dict `options.raw`.
    """
    allocator.restart_quietly()
    parser = argparse.ArgumentParser(description=about.strip().splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smaller run, within a minute on two cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the raw numbers here")
    for name, settings in flags.items():
        parser.add_argument("--" + name.replace("_", "-"), **settings)
    options = parser.parse_args()
    options.raw = {}
    try:
        runs_on = machine()
        print("runs on " + ", ".join(f"{key} {value}" for key, value in runs_on.items()), flush=True)
        figures = list(measure(options))
    except (CannotRun, ImportError) as problem:
        print(f"could not run: {str(problem).splitlines()[0]}", file=sys.stderr)
        sys.exit(2)
    if options.json:
        content = {"machine": runs_on, "figures": [asdict(f) | {"verdict": f.verdict} for f in figures]}
        options.json.write_text(json.dumps({**content, "raw": options.raw}, indent=1) + "\n")
    for figure in figures:
        print(figure)
    sys.exit(0 if figures and all(figure.verdict == "reached" for figure in figures) else 1)
