import errno
import os

import pytest

from distill3d.core.errors import UserError
from distill3d.files import atomic
from distill3d.files.atomic import written
from distill3d.run.folder import RunFolder, slug, write_text


def files_in(path):
    return sorted(str(p.relative_to(path)) for p in path.rglob("*"))


def test_named_after_config_and_prompt_with_a_number_for_the_next(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = [RunFolder.create("a: 1\n", "dreamfusion", "A red mushroom!").path for _ in range(3)]
    assert [str(p) for p in made] == [
        f"outputs/dreamfusion/a-red-mushroom{n}" for n in ("", "-2", "-3")
    ]  # fmt: skip
    assert all((p / "config.yaml").read_text() == "a: 1\n" for p in made)


def test_out_is_used_when_free_or_empty_and_never_overwritten(tmp_path):
    out = tmp_path / "deep" / "er"
    out.mkdir(parents=True)
    assert RunFolder.create("a: 1\n", "c", "p", out).path == out
    (out / "mine.txt").write_text("keep")
    assert RunFolder.create("a: 2\n", "c", "p", out).path == tmp_path / "deep" / "er-2"
    assert (out / "mine.txt").read_text() == "keep"
    assert (out / "config.yaml").read_text() == "a: 1\n"


@pytest.mark.parametrize("where", ["file/run", "file", "/proc/run"])
def test_a_place_that_cannot_be_written_is_refused_and_left_alone(tmp_path, where):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"cannot be written .*--out"):
        RunFolder.create("a: 1\n", "c", "p", tmp_path / where)
    assert files_in(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_failure_while_creating_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_sync", full_disk)
    with pytest.raises(UserError, match=r"No space left"):
        RunFolder.create("a: 1\n", "c", "p", tmp_path / "x" / "y")
    assert files_in(tmp_path) == []


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_text(path, "first")
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_sync", full_disk)
        with pytest.raises(UserError, match=r"a.txt cannot be written .No space left"):
            write_text(path, "second")
    assert path.read_text() == "first"
    assert files_in(tmp_path) == ["a.txt"]
    write_text(path, "third")  # and without the fault it is written
    assert path.read_text() == "third"


def test_an_error_inside_is_passed_on_and_nothing_appears(tmp_path):
    def write_half():
        with written(tmp_path / "a") as temporary:
            temporary.mkdir()
            (temporary / "half").write_text("x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert files_in(tmp_path) == []


def test_clean_removes_what_a_killed_process_left(tmp_path):
    folder = RunFolder.create("a: 1\n", "c", "p", tmp_path / "run")
    (folder.checkpoints / ".step-000010.tmp").mkdir(parents=True)
    (folder.checkpoints / ".step-000010.tmp" / "state.json").write_text("{")
    (folder.path / ".asset.tmp.glb").write_text("x")
    (folder.path / ".mine").write_text("x")
    folder.clean()
    assert files_in(folder.path) == [".mine", "checkpoints", "config.yaml"]


def test_discard_removes_the_folders_it_made_and_no_others(tmp_path):
    folder = RunFolder.create("a: 1\n", "c", "p", tmp_path / "new" / "run")
    folder.discard()
    assert files_in(tmp_path) == []
    (tmp_path / "old").mkdir()
    RunFolder.create("a: 1\n", "c", "p", tmp_path / "old" / "run").discard()
    assert files_in(tmp_path) == ["old"]


def test_open_wants_a_run(tmp_path):
    with pytest.raises(UserError, match=r"not a run folder"):
        RunFolder.open(tmp_path)


def test_one_process_at_a_time(tmp_path):
    folder = RunFolder.create("a: 1\n", "c", "p", tmp_path / "run")
    with folder.locked(), pytest.raises(UserError, match=r"in use"), folder.locked():
        pass
    with folder.locked():
        pass


@pytest.mark.parametrize(
    ("text", "name"),
    [("A red mushroom", "a-red-mushroom"), ("../../etc", "etc"), ("???", "run"), ("ein Hündchen", "ein-hündchen")],
)
def test_slugs(text, name):
    assert slug(text) == name
    assert len(slug("火" * 500).encode()) <= 200
