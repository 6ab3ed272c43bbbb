"""`distill3d image --model FOLDER`: a checkpoint that is not whole is one line and exit code 2; nothing is written."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from distill3d import cli
from tests.diffusion.folders import embedded_folder

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def change_weights(folder, change):
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def change_config(folder, file, **values):
    config = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(config | values))


def truncate(folder):
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])


@pytest.fixture
def folder(tmp_path):
    return embedded_folder(tmp_path / "prior")


def sampled(folder, where):
    return cli.main(["image", "a red chair", "--model", str(folder), "--steps", "1", "--out", str(where / "a.png")])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: change_weights(f, lambda t: t.pop("conv_out.weight")), "'conv_out.weight' is missing or misshapen"),
        (lambda f: change_weights(f, lambda t: t.update(surplus=torch.zeros(2))), "no place for 'surplus'"),
        (
            lambda f: change_weights(f, lambda t: t.update({"conv_in.bias": torch.zeros(3)})),
            "'conv_in.bias' is missing or misshapen",
        ),
        (
            lambda f: change_weights(f, lambda t: t.update({"conv_in.bias": t["conv_in.bias"].int()})),
            "is stored as I32",
        ),
        (lambda f: change_weights(f, lambda t: t["conv_out.weight"].fill_(torch.nan)), "not finite"),
        (truncate, "is truncated"),
        (lambda f: change_config(f, "unet/config.json", _class_name="UNet9D"), "is of class 'UNet9D'"),
        (
            lambda f: change_config(f, "model_index.json", unet=["diffusers", "UNet9D"]),
            "class 'UNet9D' is not supported",
        ),
        (lambda f: change_config(f, "scheduler/scheduler_config.json", _class_name="Nine"), "class 'Nine' is not"),
        (lambda f: (f / "unet/config.json").write_text("{"), "is not readable JSON"),
    ],
    ids=["missing", "extra", "misshapen", "dtype", "nan", "truncated", "class", "listed class", "scheduler", "json"],
)
def test_a_spoilt_checkpoint_is_one_line(folder, tmp_path, capsys, spoil, says):
    spoil(folder)
    where = tmp_path / "out"
    where.mkdir()
    assert sampled(folder, where) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert err.splitlines()[-1] == lines[0]
    assert says in lines[0]
    assert list(where.iterdir()) == []


def test_the_same_checkpoint_unspoilt_is_sampled(folder, tmp_path, capsys):
    assert sampled(folder, tmp_path) == 0
    assert (tmp_path / "a.png").exists()
    assert "error" not in capsys.readouterr().err


@pytest.mark.parametrize("resolution", [33, -32, 4, 10**6])
def test_a_resolution_that_the_prior_cannot_take_is_one_line(folder, tmp_path, capsys, resolution):
    words = ["run", "dreamfusion", "prompt=a red chair", f"prior.model={folder}", f"prior.resolution={resolution}"]
    assert cli.main([*words, "--out", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert [line.startswith("error: ") for line in err.splitlines()] == [True]
    assert "resolution" in err
    assert not (tmp_path / "out").exists()
