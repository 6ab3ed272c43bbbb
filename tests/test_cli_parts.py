"""`distill3d parts` on the command line: every verb ends with where things are, and every mistake in one line."""

from __future__ import annotations

import pytest

from distill3d.cli import main
from distill3d.parts.part_file import read_parts, write_parts
from tests.parts.tiny import tiny_network, tiny_shape, write_tiny_models


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("parts")
    write_tiny_models(made / "model")
    for number in (0, 1):
        write_parts(tiny_shape(tiny_network(), number), made / f"{'ab'[number]}.safetensors")
    return made


VERBS = [
    ('generate "a chair with wheels" --n 2 --steps 2 --cfg-scale 2 --seed 3', 2),
    ("complete A --parts 1,2 --steps 2", 1),
    ("mix A B --from-a 0,1 --from-b 2,3,4 --steps 2 --strength 0.5", 1),
    ('edit A "the one with wheels" --parts 0 --steps 2', 1),
    ("interpolate A B --n 2", 2),
    ("move A --parts 2 --translate=-0.1,0,0.05 --rotate x:-20 --scale 1.2", 1),
    ("show A", 1),
]


def run(folder, tmp_path, line, *more):
    import shlex

    named = {"A": str(folder / "a.safetensors"), "B": str(folder / "b.safetensors")}
    words = [named.get(word, word) for word in shlex.split(line)]
    return main(["parts", *words, "--model", str(folder / "model"), "--out", str(tmp_path / "out"), *more])


@pytest.mark.parametrize(("line", "count"), VERBS, ids=[line.split()[0] for line, _ in VERBS])
def test_every_verb_says_where_its_folder_is(folder, tmp_path, capsys, line, count):
    assert run(folder, tmp_path, line, "--resolution", "17", "--quiet") == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith(str(tmp_path / "out"))
    assert err == ""
    assert (tmp_path / "out" / "sheet.png").is_file()
    for number in range(count):
        assert (tmp_path / "out" / f"shape-{number}.glb").is_file()
        read_parts(tmp_path / "out" / f"shape-{number}.safetensors")
    assert not (tmp_path / "out" / f"shape-{count}.safetensors").exists()
    assert line != "show A" or [words.split()[0] for words in out.splitlines()[1:6]] == list("01234")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('generate "a boat"', "they know chair"),
        ("complete A", "--parts"),
        ("complete A --parts 9", "part 9 is not there"),
        ("complete A --parts ''", "no part is chosen"),
        ("move A --parts 0", "nothing moves"),
        ("move A --parts 0 --translate 1,2", "--translate '1,2' is not three numbers"),
        ("move A --parts 0 --translate nan,0,0", "is not three numbers"),
        ("move A --parts 0 --rotate w:90", "--rotate 'w:90' is not an axis and degrees"),
        ("move A --parts 0 --rotate z:much", "is not an axis and degrees"),
        ("mix A B --from-a 0", "--from-b"),
        ("interpolate A B --n 1", "--n is 2 to 64"),
        ("show A --steps 3", "unknown argument '--steps'"),
        ("shwo A", "invalid choice"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(folder, tmp_path, capsys, line, says):
    assert run(folder, tmp_path, line, "--quiet") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert says in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_progress_has_steps_and_time(folder, tmp_path, capsys):
    assert run(folder, tmp_path, 'generate "a purple chair" --steps 2 --resolution 17') == 0
    err = capsys.readouterr().err
    assert "will not hear: purple" in err
    assert "sampling ..." in err
    assert "4 steps: 0:0" in err
    assert "surfaces and pictures ..." in err
