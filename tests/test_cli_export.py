"""`distill3d export` and `distill3d render` as commands."""

from pathlib import Path

import pytest

from distill3d import cli
from tests.files.meshes.good_files import write_all


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_all(tmp_path)


def test_export_prints_the_files_and_nothing_else(here, capsys):
    assert cli.main(["export", "cube.obj", "--format", "obj", "--out", "new.obj"]) == 0
    out, err = capsys.readouterr()
    assert out.split() == ["new.obj", "new.mtl", "new.png"]
    assert "Traceback" not in err
    assert cli.main(["export", "ball.stl", "--format", "glb", "--faces", "40", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert out == "ball-2.glb\n"  # ball.glb was there
    assert err == ""
    assert Path("ball-2.glb").stat().st_size > 500


def test_render_prints_the_file_and_says_what_the_depth_means(here, capsys):
    assert cli.main(["render", "cube.obj", "--view", "front", "--show", "rgb,depth", "--size", "32"]) == 0
    out, err = capsys.readouterr()
    assert out == "front.png\n"
    assert "depth: 2.20 (bright) to 4.20 (dark)" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["export"], "RUN_OR_FILE"),
        (["export", "nowhere.glb"], "nowhere.glb: there is no such file or folder"),
        (["export", "text.stl", "--format", "fbx"], "unknown export format 'fbx'"),
        (["export", "text.stl", "--faces", "many"], "invalid int value: 'many'"),
        (["export", "text.stl", "--face", "3"], "unknown argument '--face'"),
        (["export", "cube.mtl"], "neither a run folder nor a file"),
        (["render", "nowhere"], "nowhere: there is no such file or folder"),
        (["render", "cube.obj", "--up", "x"], "invalid choice: 'x'"),
        (["render", "cube.obj", "--view", "frnt"], "did you mean 'front'?"),
        (["render", "."], "not a run folder"),
    ],
)
def test_what_the_user_can_put_right_is_one_line(here, capsys, words, says):
    before = sorted(str(path) for path in Path(".").rglob("*"))
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert says in lines[0]
    assert out == ""
    assert sorted(str(path) for path in Path(".").rglob("*")) == before
