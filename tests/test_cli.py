"""The command line: exit codes, one line for what the user can put right, and nothing written then."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distill3d import cli

FIT = """\
# fits a picture under noise
system: fit_image:FitImage
prompt: ???
renderer: {kind: "fit_image:Pixels", size: 8}
steps: 12
threads: 1
export: {formats: [], turntable_frames: 0}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder with one config, as the working directory."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "run"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fit.yaml").write_text(FIT)
    (tmp_path / "file").write_text("mine")
    return tmp_path


def files():
    return sorted(str(path) for path in Path(".").rglob("*"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "dreamfuson", "prompt=a"], "did you mean 'dreamfusion'?"),
        (["run", "dreamfusion"], "prompt: must be given"),
        (["run", "dreamfusion", "prompt= "], "prompt is empty"),
        (["run", "dreamfusion", "prompt=a", "guidanse.0.cfg_scale=3"], "unknown key guidanse"),
        (["run", "dreamfusion", "prompt=a", "guidance.0.cfg_scal=3"], "did you mean 'cfg_scale'?"),
        (["run", "dreamfusion", "prompt=a", "guidance.0.cfg_scale=[]"], "guidance.0.cfg_scale:"),
        (["run", "dreamfusion", "prompt=a", "prior.model=./nowhere"], "nowhere"),
        (["run", "fit.yaml", "prompt=a", "stps=3"], "did you mean 'steps'?"),
        (["run", "fit.yaml", "prompt=a", "steps=lots"], "steps: Input should be a valid integer"),
        (["run", "fit.yaml", "prompt=a", "steps"], "key=value"),
        (["run", "fit.yaml", "prompt=a", "--outt", "x"], "unknown argument '--outt'"),
        (["run", "none.yaml", "prompt=a"], "no config file"),
        (["run", "fit.yaml", "prompt=a", "--out", "file/run"], "cannot be written"),
        (["run", "fit.yaml", "prompt=a", "--out", "file"], "it is a file"),
        (["run", "fit.yaml", "prompt=a", "--out", "/proc/run"], "cannot be written"),
        (["run", "--resume", "."], "not a run folder"),
        (["run", "--resume", "nowhere"], "not a run folder"),
        (["run", "fit.yaml", "--resume", "."], "give no CONFIG"),
        (["run"], "which config?"),
        (["ran"], "invalid choice: 'ran'"),
        ([], "VERB"),
        (["list", "more"], "unknown argument 'more'"),
        (["image"], "prompt"),
        (["image", "a cat", "--n", "many"], "invalid int value: 'many'"),
        (["image", "a cat", "--view", "frnt"], "did you mean 'front'?"),
        (["toybox"], "VERB"),
    ],
)
def test_what_the_user_can_put_right_is_one_line(here, capsys, words, says):
    before = files()
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    last = err.splitlines()[-1]
    assert last.startswith("error: ")
    assert says in last
    assert "Traceback" not in err
    assert out == ""
    assert err.splitlines() == [last]
    assert files() == before


def test_debug_shows_the_traceback(here, capsys):
    assert cli.main(["run", "fit.yaml", "--debug"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("error: prompt: must be given")


@pytest.mark.parametrize(
    "words",
    [
        ["fit.yaml", "prompt=a", "steps=3", "--out", "r"],
        ["fit.yaml", "--out", "r", "prompt=a", "steps=3"],
        ["--out", "r", "fit.yaml", "prompt=a", "--quiet", "steps=3"],
    ],
)
def test_options_may_stand_anywhere(here, capsys, words):
    assert cli.main(["run", *words]) == 0
    assert "report" in capsys.readouterr().out
    assert Path("r/checkpoints/step-000003").is_dir()
    assert "steps: 3\n" in Path("r/config.yaml").read_text()


def test_resume_by_command(here, capsys):
    assert cli.main(["run", "fit.yaml", "prompt=a", "--out", "r"]) == 0
    assert cli.main(["run", "--resume", "r", "steps=15"]) == 0
    assert "going on from step 12" in capsys.readouterr().err
    assert Path("r/checkpoints/step-000015").is_dir()


def test_list_and_doctor(here, capsys):
    assert cli.main(["list"]) == 0
    assert "dreamfusion DreamFusion (Poole et al. 2023)" in " ".join(capsys.readouterr().out.split())
    assert cli.main(["doctor"]) == 0
    assert "torch" in capsys.readouterr().out


def test_interrupted_before_there_is_anything(here, monkeypatch, capsys):
    def ctrl_c(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("distill3d.run.api.load", ctrl_c)
    assert cli.main(["run", "fit.yaml"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_help_is_quick_and_imports_nothing_heavy():
    code = (
        "import sys\nfrom distill3d import cli\n"
        "try: cli.main(['run', '--help'])\nexcept SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'numba', 'pydantic', 'yaml', 'rich', 'numpy'} & set(sys.modules)\nassert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)

    def seconds(code):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, env=os.environ)
        return time.perf_counter() - start

    best = min(seconds("from distill3d import cli; cli.main(['--help'])") for _ in range(3))
    bare = min(seconds("pass") for _ in range(3))
    assert best - bare < 0.3
