"""The curves of a run: one JSON line a logged step, and TensorBoard where it is installed."""

from __future__ import annotations

import errno
import json
import math
import os
import time
from importlib.util import find_spec
from typing import Any

from distill3d.core.errors import UserError
from distill3d.files.atomic import write_bytes
from distill3d.run.folder import RunFolder


class MetricsLog:
    """Appends to `metrics.jsonl`: `{"step": 10, "seconds": 3.2, "lr_scale": 1.0, "loss/sds": 0.8, ...}`.

    Args:
        folder: the run's.
        step: the run goes on at this step: lines of it and later ones, and a line cut short, are taken away.
    """

    def __init__(self, folder: RunFolder, step: int = 0) -> None:
        lines = [line for line in read_lines(folder) if line["step"] < step]
        if folder.metrics.exists():
            write_bytes(folder.metrics, b"".join(_line(line) for line in lines))
        self.path = folder.metrics
        self.last: dict[str, Any] = lines[-1] if lines else {}
        self._began = time.monotonic() - self.last.get("seconds", 0.0)  # the clock goes on where it stood
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115  closed on leaving
        self._board = _tensorboard(folder, step)

    def write(self, step: int, values: dict[str, float]) -> None:
        """One line. On a full disk the file is left as it was."""
        self.last = {"step": step, "seconds": round(time.monotonic() - self._began, 3), **values}
        before = self._file.tell()
        try:
            line = _line(self.last)
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            os.truncate(self.path, before)
            raise UserError(f"{self.path} cannot be written ({error.strerror})") from error
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def sync(self) -> None:
        """To the disk, so that a checkpoint never outlives the lines before it."""
        os.fsync(self._file.fileno())

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()


def read_lines(folder: RunFolder) -> list[dict[str, Any]]:
    """The logged lines of a run; empty where there are none. A last line cut short is left out."""
    if not folder.metrics.exists():
        return []
    lines = []
    for text in folder.metrics.read_bytes().splitlines(keepends=True):
        if text.endswith(b"\n"):
            try:
                lines.append(json.loads(text))
            except ValueError as error:
                raise UserError(f"{folder.metrics}: line {len(lines) + 1} is not JSON") from error
    return lines


def _line(values: dict[str, Any]) -> bytes:
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
    return (json.dumps(finite) + "\n").encode()


def _tensorboard(folder: RunFolder, step: int) -> Any:
    """A writer, or None where TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder.path / "tensorboard"), purge_step=step)
