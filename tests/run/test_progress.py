import io

import pytest
from rich.console import Console

from distill3d.run import progress as module
from distill3d.run.progress import Progress, clock


@pytest.fixture
def now(monkeypatch):
    time = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: time[0])
    return time


def shown(terminal, quiet=False):
    return Progress(quiet, Console(file=io.StringIO(), force_terminal=terminal, width=120, quiet=quiet))


def test_plain_lines_come_every_five_seconds_not_every_step(now):
    progress = shown(terminal=False)
    with progress, progress.steps(100):
        for done in range(1, 31):
            now[0] += 0.5
            progress.update(done, {"sds": 0.25})
    lines = progress.console.file.getvalue().splitlines()
    assert lines == [
        "first step (compiles kernels the first time) ...",
        "step 10/100  2.0 steps/s  0:45 left  sds 0.25",
        "step 20/100  2.0 steps/s  0:40 left  sds 0.25",
        "step 30/100  2.0 steps/s  0:35 left  sds 0.25",
        "30 steps: 0:15  sds 0.25",
    ]


def test_the_first_step_is_no_part_of_the_rate(now):
    progress = shown(terminal=False)
    with progress.steps(100):
        now[0] += 60.0  # compiling
        progress.update(1, {})
        assert progress.steps_per_second is None
        now[0] += 0.1
        progress.update(2, {})
        assert progress.steps_per_second == pytest.approx(10.0)


def test_the_rate_is_of_the_last_seconds(now):
    progress = shown(terminal=False)
    with progress.steps(1000):
        for done in range(1, 201):
            now[0] += 1.0 if done <= 100 else 0.5
            progress.update(done, {})
        assert progress.steps_per_second == pytest.approx(2.0)


def test_phases_with_their_time(now):
    progress = shown(terminal=False)
    with progress.phase("exporting"):
        now[0] += 2.5
    progress("a line")
    assert progress.console.file.getvalue().splitlines() == ["exporting ...", "exporting: 2.5 s", "a line"]


def test_a_terminal_gets_a_bar():
    progress = shown(terminal=True)
    with progress, progress.steps(10):
        progress.update(5, {"sds": 0.25})
        progress.live.refresh()
    text = progress.console.file.getvalue()
    assert "step 5/10" in text
    assert "━" in text
    assert "sds 0.25" in text


def test_quiet_is_quiet():
    progress = shown(terminal=False, quiet=True)
    with progress, progress.phase("loading"), progress.steps(10):
        progress.update(5, {})
    assert progress.console.file.getvalue() == ""


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (3725, "1:02:05")])
def test_clock(seconds, text):
    assert clock(seconds) == text
