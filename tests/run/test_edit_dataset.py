"""`distill3d edit --method in2n|sdedit|controlnet`: pictures are edited and the scene follows, to the same bytes when
stopped; what cannot be is said before anything is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from distill3d import cli
from distill3d.core.component import validated
from distill3d.core.errors import UserError
from distill3d.files.splats import read_splats
from distill3d.renderers import Renderer
from distill3d.run.api import run
from distill3d.run.edit import edit
from distill3d.run.progress import Progress
from distill3d.run.splats import write_scene
from distill3d.systems.dataset_update import DatasetUpdate

QUICK = ["threads=1", "cameras.views=2", "export.formats=[]", "export.turntable_frames=0", "preview_every=0"]
FEW = ["frames=3", "every=2", "at_once=2", "edits.sampler_steps=2", "light.shaded=0"]
SENTENCES = {"in2n": ("make it blue",), "sdedit": ("a red sphere", "a blue sphere")}
SENTENCES |= {"controlnet": SENTENCES["sdedit"], "refine": ("a blue sphere",)}


@pytest.fixture(scope="module")
def splats(tmp_path_factory):
    section = {"kind": "gaussians", "start": {"count": 300, "radius": 0.5, "opacity": 0.5}}
    renderer = Renderer.build(section, generator=torch.Generator().manual_seed(0))
    path = tmp_path_factory.mktemp("splats") / "ball.ply"
    write_scene(renderer, path)
    return path


def edited(source, out, method="in2n", steps=3, *more, **options):
    overrides = [*QUICK, *FEW, f"steps={steps}", *more]
    words = SENTENCES[method]
    return edit(source, *words, method=method, out=out, overrides=overrides, progress=Progress(quiet=True), **options)


def state(folder: Path) -> dict[str, torch.Tensor]:
    newest = sorted((folder / "checkpoints").iterdir())[-1]
    return load_file(newest / "tensors.safetensors")


def start(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoints" / "step-000000" / "tensors.safetensors")


@pytest.mark.parametrize("method", list(SENTENCES))
def test_frames_are_replaced_and_the_scene_follows(splats, tmp_path, method):
    edited(splats, tmp_path / "run", method, 3, "keep_checkpoints=9")
    before, after = start(tmp_path / "run"), state(tmp_path / "run")
    was = torch.from_numpy(read_splats(splats).means)
    assert torch.equal(after["system.source.means"], was)
    assert not torch.equal(after["system.renderer.means"], was)
    found = json.loads((tmp_path / "run" / "findings.json").read_text())
    assert found["replacements"] == 4  # two at step 0, two at step 2
    assert after["system.replaced"].sum() == 4
    assert not torch.equal(before["system.frames"], after["system.frames"])
    assert torch.equal(before["system.poses"], after["system.poses"])
    assert (tmp_path / "run" / "findings" / "frames.png").is_file()


def test_frames_that_are_not_replaced_pull_nowhere(splats, tmp_path):
    """The control of the test above: under noise of zero an edited frame is the scene's own picture."""
    edited(splats, tmp_path / "run", "sdedit", 3, "edits.noise=[0,0]", "moves=[sh_constant]")
    after = state(tmp_path / "run")
    moved = (after["system.renderer.sh_constant"] - after["system.source.sh_constant"]).abs().max()
    edited(splats, tmp_path / "noisy", "sdedit", 3, "moves=[sh_constant]")
    after = state(tmp_path / "noisy")
    assert moved < 1e-6
    assert (after["system.renderer.sh_constant"] - after["system.source.sh_constant"]).abs().max() > 1e-3


def test_a_stopped_edit_goes_on_to_the_same_bytes(splats, tmp_path):
    edited(splats, tmp_path / "whole", steps=4)
    edited(splats, tmp_path / "halves", steps=2)
    run(resume=tmp_path / "halves", steps=4, progress=Progress(quiet=True))
    a, b = (sorted((tmp_path / name / "checkpoints").iterdir())[-1] for name in ("whole", "halves"))
    assert a.name == b.name == "step-000004"
    for file in ("tensors.safetensors", "state.json"):
        assert (a / file).read_bytes() == (b / file).read_bytes()


def test_a_region_holds_what_lies_outside(splats, tmp_path):
    edited(splats, tmp_path / "run", "sdedit", region="box:-1,-1,0,1,1,1")
    after = state(tmp_path / "run")
    below = after["system.source.means"][:, 2] < 0
    changed = (after["system.renderer.means"] != after["system.source.means"]).any(1)
    assert not changed[below].any()
    assert changed[~below].any()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ball.ply", "a cube", "a ball", "--method", "in2n"], "takes one instruction"),
        (["ball.ply", "a cube", "--method", "sdedit"], "takes two sentences"),
        (["ball.ply", " ", "--method", "in2n"], "the sentence is empty: in2n takes one instruction"),
        (["ball.ply", "make it blue", "prior.model=toybox", "--method", "in2n"], "takes no instruction"),
        (["ball.ply", "a", "b", "prior.model=toybox-instruct", "--method", "sdedit"], "takes instructions alone"),
        (["ball.ply", "a", "b", "prior.control=[]", "--method", "controlnet"], "has no ControlNet"),
        (["ball.ply", "make it blue", "edits.noise=[0.5,0.1]", "--method", "in2n"], "noise is two shares"),
        (["ball.ply", "make it blue", "at_once=30", "--method", "in2n"], "at_once is at most the number of frames"),
        (["ball.ply", "make it blue", "guidance=[{kind: sds}]", "--method", "in2n"], "see edits"),
    ],
)
def test_what_cannot_be_edited_is_said_in_a_line(splats, tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ball.ply").write_bytes(splats.read_bytes())
    assert cli.main(["edit", *words, "--quiet"]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["ball.ply"]


def test_the_section_of_a_method_without_guidance_is_checked():
    values = {"source": "x", "prompt": "make it blue", "steps": 1}
    config = validated(DatasetUpdate.Config, values, "")
    assert config.guidance == []
    assert config.source_prompt == ""
    with pytest.raises(UserError, match="frames"):
        validated(DatasetUpdate.Config, {**values, "frames": 0}, "")
