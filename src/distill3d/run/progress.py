"""What a person sees while a run is under way: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

PLAIN_INTERVAL = 5.0  # seconds between plain lines
RATE_WINDOW = 20.0  # seconds over which steps a second are averaged


class Progress:
    """Phases (`loading`, `exporting`) with their time, and the steps between them with rate, losses and time left.

    Args:
        quiet: show nothing.
        console: where to; the error stream by default, so that results on the standard output stay clean.

    Used as a context manager. Calling it with a message prints a line: `progress("resumed from step 200")`.
    """

    def __init__(self, quiet: bool = False, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, quiet=quiet, highlight=False)
        self.live = Live(console=self.console, refresh_per_second=8, transient=True)
        self.fancy = self.console.is_terminal and not quiet
        self._phase = ""
        self.total = 0
        self.step = 0
        self._losses: dict[str, float] = {}
        self._times: deque[tuple[float, int]] = deque()
        self._next_line = 0.0

    def __enter__(self) -> Progress:
        if self.fancy:
            self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.fancy:
            self.live.stop()

    def __call__(self, message: str) -> None:
        """Prints a line above the bar."""
        self.console.print(Text(message))

    @contextmanager
    def spinner(self, name: str) -> Iterator[None]:
        """Shows on a terminal that `name` is going on, and leaves nothing behind."""
        if self.fancy:
            self.live.update(Spinner("dots", Text(f" {name} ...")))
        yield
        if self.fancy:
            self.live.update(Text(""))

    @contextmanager
    def phase(self, name: str, announced: bool = True) -> Iterator[None]:
        """Shows that `name` is going on, and afterwards how long it took.

        Where it may end in an error about what was asked for, do not have it `announced` in a log: the error is then
        the only line there.
        """
        start = time.monotonic()
        if announced and not self.fancy:
            self(f"{name} ...")
        self._phase = name
        with self.spinner(name):
            yield
        self(f"{name}: {time.monotonic() - start:.1f} s")

    def stage(self, name: str) -> None:
        """Shows on a terminal that the phase has come to `name`."""
        if self.fancy:
            self.live.update(Spinner("dots", Text(f" {self._phase}: {name} ...")))

    @contextmanager
    def steps(
        self, total: int, start: int = 0, first: str = "first step (compiles kernels the first time)"
    ) -> Iterator[None]:
        """The stretch in which `update` is called, from step `start` of `total`; `first` is shown until then."""
        self.total, self.step = total, start
        self._times.clear()
        began = time.monotonic()
        self._next_line = began + PLAIN_INTERVAL
        if start < total:
            if self.fancy:
                self.live.update(Spinner("dots", Text(f" {first} ...")))
            else:
                self(f"{first} ...")
        yield
        if self.fancy:
            self.live.update(Text(""))
        if self.step > start:
            self(f"{self.step - start} steps: {clock(time.monotonic() - began)}{self._loss_text()}")

    def update(self, done: int, losses: dict[str, float]) -> None:
        """`done` steps are done; `losses` by name are of the last one."""
        now = time.monotonic()
        self.step, self._losses = done, losses
        self._times.append((now, done))  # the first step, with its compiling, is no part of the rate
        while len(self._times) > 2 and self._times[0][0] < now - RATE_WINDOW:
            self._times.popleft()
        if self.fancy:
            self.live.update(self._bar())
        elif now >= self._next_line:
            self(f"step {done}/{self.total}{self._rate_text()}{self._loss_text()}")
            self._next_line = now + PLAIN_INTERVAL

    @property
    def steps_per_second(self) -> float | None:
        """Over the last seconds; None until two steps are done."""
        (t0, n0), (t1, n1) = (self._times[0], self._times[-1]) if self._times else ((0.0, 0), (0.0, 0))
        return (n1 - n0) / (t1 - t0) if t1 > t0 else None

    def _bar(self) -> Table:
        row = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=self.total, completed=self.step, width=28)
        row.add_row(f"step {self.step}/{self.total}", bar, Text((self._rate_text() + self._loss_text()).strip()))
        return row

    def _rate_text(self) -> str:
        rate = self.steps_per_second
        return f"  {rate:.1f} steps/s  {clock((self.total - self.step) / rate)} left" if rate else ""

    def _loss_text(self) -> str:
        return "".join(f"  {name} {value:.4g}" for name, value in self._losses.items())


def clock(seconds: float) -> str:
    """A duration as people read it.

    >>> clock(75)
    '1:15'
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
