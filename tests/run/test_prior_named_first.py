"""A prior that cannot be loaded is named at once: before the run's folder, and before a word about loading."""

import shutil
from pathlib import Path

import pytest

import distill3d
from distill3d import cli


@pytest.fixture
def weights(tmp_path):
    """A copy of the embedded prior."""
    source = Path(distill3d.__file__).parent / "toybox" / "weights"
    return Path(shutil.copytree(source, tmp_path / "weights"))


def refusal(capsys, model):
    words = ["run", "dreamfusion", "prompt=a cube", f"prior.model={model}", "--out", "run"]
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1  # no "loading ..." before it
    assert err.startswith("error: ")
    assert not Path("run").exists()
    return err


@pytest.mark.parametrize("model", ["toybx", "./nowhere", "/nowhere/at/all"])
def test_a_wrong_name(tmp_path, monkeypatch, capsys, model):
    monkeypatch.chdir(tmp_path)
    assert model in refusal(capsys, model)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_whole(tmp_path, monkeypatch, capsys, weights):
    monkeypatch.chdir(tmp_path)
    file = next(weights.glob("unet/*.safetensors"))
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    assert "truncated" in refusal(capsys, weights)
    file.unlink()
    assert "is missing" in refusal(capsys, weights)
    file.write_bytes(content)
    (weights / "model_index.json").unlink()
    assert "model_index.json is missing" in refusal(capsys, weights)


def test_a_whole_folder_passes(tmp_path, monkeypatch, weights):
    """Negative control: the next step is to load it."""
    monkeypatch.chdir(tmp_path)

    begun = []

    def stop(*_):
        begun.append("loading")
        raise KeyboardInterrupt

    monkeypatch.setattr("distill3d.run.api.build", stop)
    assert cli.main(["run", "dreamfusion", "prompt=a cube", f"prior.model={weights}", "--out", "run"]) == 130
    assert begun == ["loading"]
