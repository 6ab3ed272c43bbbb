"""The demo's main job: seconds from the command to `asset.glb`, and the most memory it holds.

`distill3d run dreamfusion prompt="a red mushroom"` in a process of its own, as `make demo` starts it once
all is installed. Memory is the resident size of the process and its children together, read twenty times a second.
`--quick` takes thirty steps, to see that it works; its figures are not measured.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from figures import CannotRun, Figure, main

RUN = "import sys; from distill3d.cli import main; sys.exit(main())"
SECONDS, GIB = 180, 3
QUICK_STEPS = 30


class MemoryWatch(threading.Thread):
    """The most bytes that a process and all below it held at once, and when a file first was there."""

    def __init__(self, process: subprocess.Popen[str], file: Path, every: float = 0.05) -> None:
        super().__init__(daemon=True)
        self.process, self.file, self.every = process, file, every
        self.start_time = time.perf_counter()
        self.peak, self.file_after = 0, float("nan")

    def run(self) -> None:
        while True:
            alive = self.process.poll() is None
            self.peak = max(self.peak, resident(self.process.pid))
            if self.file_after != self.file_after and self.file.is_file():
                self.file_after = time.perf_counter() - self.start_time
            if not alive:
                return
            time.sleep(self.every)


def resident(pid: int) -> int:
    """Bytes of resident memory of a process and its children, and theirs; 0 where it has ended (Linux)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = [p for task in Path(f"/proc/{pid}/task").iterdir() for p in (task / "children").read_text().split()]
    except OSError:
        return 0
    own = next((int(text.split()[1]) * 1024 for text in status.splitlines() if text.startswith("VmRSS")), 0)
    return own + sum(resident(int(child)) for child in children)


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    if not Path("/proc/self/status").is_file():
        raise CannotRun("memory is read from /proc, which this system does not have")
    overrides = [*options.set, *([f"steps={QUICK_STEPS}"] if options.quick else [])]
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.out or Path(temporary)) / "demo"
        if folder.exists():
            raise CannotRun(f"{folder} is there already; choose another --out")
        command = [sys.executable, "-c", RUN, "run", "dreamfusion", f"prompt={options.prompt}", *overrides]
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(
                [*command, "--quiet", "--out", str(folder)], stdout=subprocess.DEVNULL, stderr=errors, text=True
            )
            watch = MemoryWatch(process, folder / "asset.glb")
            watch.start()
            try:
                process.wait()
            finally:
                process.kill()  # where the wait was interrupted
            watch.join()
            total = time.perf_counter() - watch.start_time
            errors.seek(0)
            lines = errors.read().strip().splitlines()
        if process.returncode != 0:
            raise CannotRun(lines[-1] if lines else f"the run ended with exit code {process.returncode}")
    gib = watch.peak / 2**30
    print(f"asset.glb after {watch.file_after:.1f} s, all files after {total:.1f} s, peak memory {gib:.2f} GiB")
    options.raw |= {"asset_seconds": watch.file_after, "total_seconds": total, "peak_bytes": watch.peak}
    whole = not options.quick
    yield Figure("demo_seconds", watch.file_after if whole else None, goal=SECONDS, unit="s", at_most=True)
    yield Figure("demo_memory_gib", gib if whole else None, goal=GIB, unit="GiB", at_most=True)


if __name__ == "__main__":
    main(
        __doc__,
        measure,
        prompt={"default": "a red mushroom"},
        out={"type": Path, "default": None, "metavar": "FOLDER", "help": "keep the run here (default: thrown away)"},
        set={"nargs": "*", "default": [], "metavar": "KEY=VALUE", "help": "overrides of the config"},
    )
