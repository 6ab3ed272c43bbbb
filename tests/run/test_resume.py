"""Killed at any moment, a run resumes and ends with the same bytes as one that never stopped."""

import json
import random
import signal
import time

import children
import pytest

from distill3d import cli
from distill3d.core.errors import UserError

SETTINGS = {"prompt": "a", "steps": 60, "log_every": 3, "checkpoint_every": 5, "preview_every": 10, "seed": 3}


def end_state(folder):
    """Everything that must not depend on having been stopped."""
    newest = sorted((folder / "checkpoints").iterdir())[-1]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {
        "checkpoint": {p.name: p.read_bytes() for p in sorted(newest.iterdir())},
        "metrics": [{k: v for k, v in line.items() if k != "seconds"} for line in lines],
        "previews": {p.name: p.read_bytes() for p in sorted((folder / "previews").iterdir())},
        "config": (folder / "config.yaml").read_bytes(),
        "left over": sorted(p.name for p in folder.rglob(".*")),
    }


def test_killed_at_random_moments(fit, tmp_path):
    start = {"config": fit, "wait": 0.005, **SETTINGS}
    children.run(out=tmp_path / "whole", **start)
    whole = end_state(tmp_path / "whole")
    assert [line["step"] for line in whole["metrics"]] == [*range(0, 60, 3), 59]
    assert not whole["left over"]

    out, moments, kills, ended = tmp_path / "killed", random.Random(0), 0, False
    while not ended:
        begun = (out / "config.yaml").exists()
        process = children.start(children.run, **({"resume": out} if begun else {"out": out, **start}))
        process.join(moments.uniform(0.1, 0.4) if kills < 8 else None)  # then let it come to its end
        process.kill()
        process.join()
        ended = process.exitcode == 0
        kills += process.exitcode == -signal.SIGKILL
        assert ended or process.exitcode == -signal.SIGKILL
    assert kills >= 1
    assert end_state(out) == whole

    children.run(out=tmp_path / "other", **{**start, "seed": 4})
    assert end_state(tmp_path / "other") != whole  # the comparison can fail


def test_killed_at_every_stage_of_writing(fit, tmp_path):
    start = {"config": fit, **SETTINGS, "steps": 8, "preview_every": 4}
    children.run(out=tmp_path / "whole", **start)
    whole = end_state(tmp_path / "whole")
    killed, calls = 0, 0
    for call in range(1, 200, 2):
        out = tmp_path / f"killed-{call}"
        process = children.start(children.run_killed_at, call, out=out, **start)
        process.join()
        if process.exitcode == 0:  # it came to its end before that call
            break
        assert process.exitcode == -signal.SIGKILL
        killed += 1
        if out.exists():
            children.run(resume=out)
            assert end_state(out) == whole, call
            calls += 1
    assert killed > calls >= 8  # also killed before there was a folder, and often after


def test_the_command_itself(fit, tmp_path, capsys):
    out = tmp_path / "killed"
    words = ["run", str(fit), *(f"{key}={value}" for key, value in SETTINGS.items()), "wait=0.03", "--out", str(out)]
    process = children.start(children.command, words, tmp_path / "log")
    deadline = time.monotonic() + 200
    while not list(out.glob("checkpoints/step-*")):  # until there is something to go on from
        assert process.exitcode is None, (tmp_path / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert cli.main(["run", "--resume", str(out)]) == 0
    told = capsys.readouterr()
    assert "going on from step" in told.err
    assert "going on from step 0" not in told.err
    assert f"report    {out / 'report.html'}" in told.out
    children.run(config=fit, out=tmp_path / "whole", wait=0.03, **SETTINGS)
    assert end_state(out) == end_state(tmp_path / "whole")


def test_more_steps_may_be_asked_for_and_nothing_else(fit, tmp_path):
    children.run(config=fit, out=tmp_path / "a", **SETTINGS)
    children.run(config=fit, out=tmp_path / "b", **{**SETTINGS, "steps": 31})
    children.run(resume=tmp_path / "b", steps=60)
    a, b = end_state(tmp_path / "a"), end_state(tmp_path / "b")
    assert a["checkpoint"] == b["checkpoint"]
    assert a["config"] == b["config"]
    with pytest.raises(UserError, match=r"seed cannot change"):
        children.run(resume=tmp_path / "b", seed=4)
    with pytest.raises(UserError, match=r"give no CONFIG"):
        children.run(config=fit, resume=tmp_path / "b")


def test_a_finished_run_is_only_exported_again(fit, tmp_path):
    children.run(config=fit, out=tmp_path / "a", **SETTINGS)
    before = end_state(tmp_path / "a")
    children.run(resume=tmp_path / "a")
    assert end_state(tmp_path / "a") == before
