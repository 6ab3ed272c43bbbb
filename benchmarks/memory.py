"""How much memory a program has held at most."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path


def peak_resident(process: int | str = "self") -> int:
    """Bytes that a running program has held at most.

    On Linux not `ru_maxrss`: that outlives exec, so that a new process begins with the peak of whoever started it;
    VmHWM belongs to the program's own memory. Where there is no /proc, the peak of this process is given for "self",
    and 0 for others.

    Args:
        process: a number, or "self". One that has ended has held 0.
    """
    if sys.platform == "linux":
        try:
            found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{process}/status").read_text())
        except OSError:
            found = None
        return 1024 * int(found[1]) if found else 0
    if process != "self":
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
