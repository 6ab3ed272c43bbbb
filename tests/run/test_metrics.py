import json

import pytest

from distill3d.core.errors import UserError
from distill3d.run import metrics as module
from distill3d.run.folder import RunFolder
from distill3d.run.metrics import MetricsLog, read_lines


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create("a: 1\n", "c", "p", tmp_path / "run")


def test_resuming_takes_later_lines_and_half_a_line_away(folder):
    with MetricsLog(folder) as log:
        for step in range(0, 50, 10):
            log.write(step, {"loss/a": step / 3})
    with open(folder.metrics, "ab") as file:
        file.write(b'{"step": 50, "lo')
    with MetricsLog(folder, step=25) as log:
        assert log.last["step"] == 20
        log.write(30, {"loss/a": 1.0})
    assert [line["step"] for line in read_lines(folder)] == [0, 10, 20, 30]
    assert read_lines(folder)[1]["loss/a"] == 10 / 3


def test_the_clock_goes_on_where_it_stood(folder, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with MetricsLog(folder) as log:
        now[0] += 7
        log.write(0, {})
    now[0] += 5000
    with MetricsLog(folder, step=1) as log:
        now[0] += 2
        log.write(1, {})
    assert [line["seconds"] for line in read_lines(folder)] == [7.0, 9.0]


def test_lines_are_json_even_for_numbers_that_are_none(folder):
    with MetricsLog(folder) as log:
        log.write(0, {"nan": float("nan"), "one": 1.0})
    assert json.loads(folder.metrics.read_text(), parse_constant=pytest.fail)["nan"] is None


def test_a_full_disk_leaves_whole_lines(folder):
    log = MetricsLog(folder)
    log.write(0, {})
    real = log._file

    class Full:
        def tell(self):
            return real.tell()

        def write(self, data):
            return real.write(data[:5])  # as a disk with five bytes left does

    log._file = Full()
    with pytest.raises(UserError, match=r"metrics.jsonl cannot be written .No space left"):
        log.write(1, {})
    real.close()
    assert [line["step"] for line in read_lines(folder)] == [0]
    assert folder.metrics.read_bytes().endswith(b"}\n")


def test_tensorboard_gets_the_same_curves(folder):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with MetricsLog(folder) as log:
        for step in (0, 10):
            log.write(step, {"loss/a": step + 0.5})
    events = EventAccumulator(str(folder.path / "tensorboard")).Reload().Scalars("loss/a")
    assert [(event.step, event.value) for event in events] == [(0, 0.5), (10, 10.5)]
