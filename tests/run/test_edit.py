"""`distill3d edit`: the scene changes, its source does not, and a stopped edit goes on as if it had not been."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from safetensors.torch import load_file

from distill3d import cli
from distill3d.files.splats import read_splats
from distill3d.renderers import GaussianRenderer, Renderer
from distill3d.run.edit import as_renderer, edit, section_of
from distill3d.run.edit_geometry import colors_of
from distill3d.run.progress import Progress
from distill3d.run.scene import open_scene
from distill3d.run.splats import write_scene

QUICK = ["threads=1", "cameras.views=2", "export.formats=[]", "export.turntable_frames=0", "preview_every=0"]


@pytest.fixture(scope="module")
def splats(tmp_path_factory):
    section = {"kind": "gaussians", "start": {"count": 300, "radius": 0.5, "opacity": 0.5}}
    renderer = Renderer.build(section, generator=torch.Generator().manual_seed(0))
    path = tmp_path_factory.mktemp("splats") / "ball.ply"
    write_scene(renderer, path)
    return path


def edited(source, out, before="a red sphere", after="a blue sphere", method="pds", steps=2, **more):
    overrides = [*QUICK, f"steps={steps}"]
    return edit(
        source, before, after, method=method, out=out, overrides=overrides, progress=Progress(quiet=True), **more
    )


def state(folder: Path) -> dict[str, torch.Tensor]:
    newest = sorted((folder / "checkpoints").iterdir())[-1]
    return load_file(newest / "tensors.safetensors")


@pytest.mark.parametrize("method", ["pds", "dds", "sds"])
def test_the_scene_changes_and_its_file_does_not(splats, tmp_path, method):
    content = splats.read_bytes()
    edited(splats, tmp_path / "run", method=method)
    after = state(tmp_path / "run")
    assert splats.read_bytes() == content
    was = torch.from_numpy(read_splats(splats).means)
    assert torch.equal(after["system.source.means"], was)
    assert not torch.equal(after["system.renderer.means"], was)
    found = json.loads((tmp_path / "run" / "findings.json").read_text())
    assert found["psnr_to_source"] > 15
    assert -1 <= found["directional_similarity"] <= 1
    assert (tmp_path / "run" / "findings" / "before_after.png").is_file()


@pytest.mark.parametrize(("method", "still"), [("pds", True), ("dds", True), ("sds", False)])
def test_nothing_asked_nothing_changed(splats, tmp_path, method, still):
    edited(splats, tmp_path / "run", "a red sphere", "a red sphere", method)
    after = state(tmp_path / "run")
    names = [name.removeprefix("system.source.") for name in after if name.startswith("system.source.")]
    same = [torch.equal(after[f"system.source.{name}"], after[f"system.renderer.{name}"]) for name in names]
    assert all(same) == still  # score distillation pulls all the same


def test_a_stopped_edit_goes_on_to_the_same_bytes(splats, tmp_path):
    edited(splats, tmp_path / "whole", steps=2)
    edited(splats, tmp_path / "halves", steps=1)
    assert cli.main(["edit", "--resume", str(tmp_path / "halves"), "steps=2", "--quiet"]) == 0
    a, b = (sorted((tmp_path / name / "checkpoints").iterdir())[-1] for name in ("whole", "halves"))
    assert a.name == b.name == "step-000002"
    for file in ("tensors.safetensors", "state.json"):
        assert (a / file).read_bytes() == (b / file).read_bytes()


def test_an_edit_can_be_edited_and_a_mesh_keeps_its_shape_when_asked(tmp_path):
    ball = trimesh.creation.icosphere(subdivisions=2, radius=3.0)
    ball.vertices += [10, 0, 0]
    ball.visual.vertex_colors = np.tile(np.uint8([200, 30, 30, 255]), (len(ball.vertices), 1))
    ball.export(tmp_path / "ball.ply")
    edited(tmp_path / "ball.ply", tmp_path / "first", colors_only=True)
    after = state(tmp_path / "first")
    assert torch.equal(after["system.renderer.change"], torch.zeros_like(after["system.renderer.change"]))
    assert not torch.equal(after["system.renderer.color"], after["system.source.color"])
    scene = open_scene(tmp_path / "first")
    assert scene.placing is not None
    np.testing.assert_allclose(scene.placing.undo(np.zeros((1, 3))), [[10, 0, 0]], atol=1e-5)
    edited(tmp_path / "first", tmp_path / "second", "a blue sphere", "a green sphere")
    assert torch.equal(state(tmp_path / "second")["system.source.color"], after["system.renderer.color"])


@pytest.mark.parametrize("kind", ["nerf", "gaussians", "mesh"])
def test_a_section_builds_the_same_renderer_again(kind):
    renderer = Renderer.build({"kind": kind}, generator=torch.Generator().manual_seed(0))
    again = Renderer.build(section_of(renderer), generator=torch.Generator().manual_seed(1))
    again.load_state_dict(renderer.state_dict())
    assert again.kind == kind
    assert as_renderer(again, None)[0] is again


def test_colours_alone_are_no_geometry():
    assert colors_of(GaussianRenderer.build({"kind": "gaussians"})) == ["sh_constant"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere.glb", "a cube", "a ball"], "no such file"),
        (["ball.ply", "a cube", "a ball", "--method", "pdss"], "did you mean 'pds'?"),
        (["ball.ply", "", "a ball"], "is empty"),
        (["ball.ply", "a cube", "a ball", "stepps=3"], "did you mean 'steps'"),
        (["ball.ply", "a cube", "a ball", "prior.model=nothing-like-it"], "neither a folder nor a hub id"),
        (["text.ply", "a cube", "a ball"], "text.ply"),
        (["ball.ply", "a cube", "a ball", "clip=nowhere"], "clip 'nowhere' is neither"),
        (["ball.ply", "a cube"], "after"),
        (["ball.ply"], "say what to edit"),
        (["--resume", "nowhere"], "not a run folder"),
        (["--resume", "nowhere", "a cube"], "unknown argument 'a cube'"),
        (["ball.ply", "a cube", "a ball", "--method", "refine"], "refine takes one sentence"),
    ],
)
def test_what_the_user_can_put_right_is_one_line(splats, tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.chdir(tmp_path)
    Path("ball.ply").write_bytes(splats.read_bytes())
    Path("text.ply").write_text("hello")
    assert cli.main(["edit", *words]) == 2
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 1
    assert says in err
    assert out == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ball.ply", "text.ply"]


def test_an_edit_is_not_begun_by_its_config_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "edit-pds", "source=x", "source_prompt=a cube", "prompt=a ball"]) == 2
    assert "distill3d edit SOURCE BEFORE AFTER" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_colours_that_depend_on_the_view_take_part(tmp_path):
    """A scene that exists has all its harmonics in use from the first step."""
    section = {"kind": "gaussians", "sh_degree": 1, "start": {"count": 200, "radius": 0.5, "opacity": 0.5}}
    renderer = Renderer.build(section, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        renderer.sh_rest.copy_(0.3 * torch.randn(renderer.sh_rest.shape, generator=torch.Generator().manual_seed(1)))
    write_scene(renderer, tmp_path / "shiny.ply")
    edited(tmp_path / "shiny.ply", tmp_path / "run")
    after = state(tmp_path / "run")
    assert not torch.equal(after["system.source.sh_rest"], after["system.renderer.sh_rest"])
