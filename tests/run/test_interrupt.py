"""Ctrl-C, in a real process that a real signal reaches."""

import os
import signal
import time

import children
import pytest

from distill3d.run.interrupt import Interrupt


def start(fit, out, wait):
    words = ["run", str(fit), "prompt=a", "steps=100000", f"wait={wait}", "log_every=1", "--out", str(out)]
    process = children.start(children.command, words, out.with_suffix(".log"))
    metrics = out / "metrics.jsonl"
    while not metrics.exists() or not metrics.stat().st_size:
        assert process.exitcode is None, out.with_suffix(".log").read_text()
        time.sleep(0.01)
    return process


def test_once_finishes_the_step_keeps_it_and_says_how_to_go_on(fit, tmp_path):
    process = start(fit, tmp_path / "run", wait=0.01)
    os.kill(process.pid, signal.SIGINT)
    process.join()
    said = (tmp_path / "run.log").read_text()
    assert process.exitcode == 130
    assert "Traceback" not in said
    assert "stopping after this step" in said
    assert f"distill3d run --resume {tmp_path / 'run'}" in said
    assert (tmp_path / "run" / "report.html").exists()  # what there is was exported
    newest = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == int(newest.name.removeprefix("step-"))  # each step logged is in the checkpoint, no other


def test_twice_stops_at_once(fit, tmp_path):
    process = start(fit, tmp_path / "run", wait="{0: 0, 1: 1000}")
    log = tmp_path / "run.log"
    os.kill(process.pid, signal.SIGINT)
    while "stopping after this step" not in log.read_text():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    process.join(60)  # in the middle of a step of a thousand seconds
    assert process.exitcode == 130
    assert "Traceback" not in log.read_text()
    assert "interrupted" in log.read_text()


def test_the_former_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    said = []
    with Interrupt(said.append) as interrupt:
        assert not interrupt.asked
        signal.raise_signal(signal.SIGTERM)
        assert interrupt.asked
        assert len(said) == 1
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
