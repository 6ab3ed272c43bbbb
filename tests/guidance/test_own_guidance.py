"""What docs/own-guidance.md shows is executed: its files are written down, its commands are run."""

import json
import re
import shlex
from pathlib import Path

import pytest

from distill3d.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "own-guidance.md"
QUICK = ("steps=2", "threads=1", "cameras.views=1", "export.formats=[]", "export.turntable_frames=0", "preview_every=0")


def blocks(language):
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return [text for kind, text in fenced if kind == language]


def commands():
    """The words after `distill3d` of every command on the page."""
    lines = [line for block in blocks("") for line in block.splitlines()]
    return [shlex.split(line)[2:] for line in lines if line.startswith("PYTHONPATH=. distill3d")]


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A folder with the page's files, which Python finds."""
    for code in blocks("python"):
        (tmp_path / code.partition("\n")[0].removeprefix("# ")).write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def logged(folder):
    return json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])


@pytest.mark.parametrize(("index", "losses"), [(0, {"my_guidance:Averaged"}), (1, {"sds", "my_losses:Redder_1"})])
def test_every_command_of_the_page_runs(written, index, losses):
    out = written / "run"
    assert main([*commands()[index], *QUICK, "--quiet", "--out", str(out)]) == 0
    found = {name.removeprefix("loss/") for name in logged(out) if name.startswith("loss/")}
    assert found == losses


def test_the_page_shows_two_files_and_two_commands():
    assert len(blocks("python")) == len(commands()) == 2
    assert {Path(re.match(r"# (\w+\.py)\n", code).group(1)).suffix for code in blocks("python")} == {".py"}


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("looks: 3", "looks: 0", "guidance.0.looks: Input should be greater than or equal to 1"),
        ("looks: 3", "loks: 3", "did you mean 'looks'"),
        (":Averaged", ":Averagd", "cannot be imported"),
    ],
)
def test_what_is_wrong_with_it_is_one_line_before_any_work(written, capsys, before, after, message):
    words = [word.replace(before, after) for word in commands()[0]]
    assert words != commands()[0]
    assert main([*words, *QUICK, "--quiet", "--out", str(written / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (written / "run").exists()
