"""Edits that are held to a region: outside it nothing changes, not by a bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from distill3d import cli
from distill3d.core.cameras import Cameras
from distill3d.files.splats import read_splats
from distill3d.geometry.region import Region
from distill3d.renderers import Renderer
from distill3d.run.api import run
from distill3d.run.edit import edit
from distill3d.run.progress import Progress
from distill3d.run.scene import open_scene
from distill3d.systems.edit_region import hold, loose, texels_inside
from tests.run.sources import far_ball, write_nerf_run, write_splats

QUICK = ["threads=1", "cameras.views=2", "export.turntable_frames=0", "preview_every=0"]
QUIET = {"progress": Progress(quiet=True)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Splats, a mesh with colours at its vertices, and a NeRF, in a folder."""
    path = tmp_path_factory.mktemp("sources")
    write_splats(path / "splats.ply", 300, 0.5)
    ball = far_ball()
    ball.visual.vertex_colors = np.tile(np.uint8([200, 30, 30, 255]), (len(ball.vertices), 1))
    ball.export(path / "ball.ply")
    write_nerf_run(path)
    return path


def edited(source, out, region, steps=3, more=(), formats="[]"):
    overrides = [*QUICK, f"steps={steps}", f"export.formats={formats}", *more]
    return edit(source, "a red sphere", "a blue cube", region=region, out=out, overrides=overrides, **QUIET)


def state(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(sorted((folder / "checkpoints").iterdir())[-1] / "tensors.safetensors")


def test_splats_outside_keep_their_bytes(folder, tmp_path):
    """In the file too, but for its being scaled and back where it had to be."""
    edited(folder / "splats.ply", tmp_path / "run", "sphere:0.3,0,0,0.25", formats="[splats]")
    inside = Region.parse("sphere:0.3,0,0,0.25").contains(state(tmp_path / "run")["system.source.means"])
    before, after = read_splats(folder / "splats.ply"), read_splats(tmp_path / "run" / "splats.ply")
    assert 5 < int(inside.sum()) < 200
    for name in ("means", "quats", "log_scales", "logit_opacities", "sh"):
        old, new = (torch.from_numpy(getattr(splats, name)) for splats in (before, after))
        assert old[~inside].numpy().tobytes() == new[~inside].numpy().tobytes()
        assert not torch.equal(old[inside], new[inside])  # negative control


def test_an_edit_without_a_region_changes_the_same_splats(folder, tmp_path):
    edited(folder / "splats.ply", tmp_path / "run", None)
    after = state(tmp_path / "run")
    outside = ~Region.parse("sphere:0.3,0,0,0.25").contains(after["system.source.means"])
    assert not torch.equal(after["system.source.means"][outside], after["system.renderer.means"][outside])


def test_vertices_outside_are_pinned_in_the_coordinates_of_the_file(folder, tmp_path):
    edited(folder / "ball.ply", tmp_path / "run", "box:9,-4,1,14,4,4")
    after = state(tmp_path / "run")
    scene = open_scene(tmp_path / "run")
    old, new = after["system.source.base"], scene.shape.vertices.detach()
    placed = torch.from_numpy(scene.placing.undo(old.double().numpy()))
    inside = (placed[:, 0] >= 9) & (placed[:, 2] >= 1)
    assert torch.equal(old[~inside], new[~inside])
    assert torch.equal(after["system.source.color"][~inside], after["system.renderer.color"][~inside])
    assert not torch.equal(old[inside], new[inside])
    edited(tmp_path / "run", tmp_path / "again", "box:9,-4,-4,14,4,-1")  # and may change in the next edit
    assert torch.equal(state(tmp_path / "again")["system.source.base"], new)
    moved = (open_scene(tmp_path / "again").shape.vertices != new).any(1)
    assert 0 < int(moved.sum()) == int((moved & ~inside).sum())


def test_texels_outside_get_no_gradient():
    section = {"kind": "mesh", "color": "texture", "texture_size": 64}
    renderer = Renderer.build(section, generator=torch.Generator().manual_seed(0))
    mask, charts = texels_inside(renderer, Region.parse("box:-1,-1,0.3,1,1,1"))
    assert mask.shape == (64, 64)
    assert 0.1 < charts.float().mean() < 0.7  # 31 % of a ball of radius 0.8 lie above 0.3
    hold(renderer, loose(renderer, Region.parse("box:-1,-1,0.3,1,1,1")))
    cameras = Cameras.orbit(torch.tensor([0.0, 2.0]), torch.tensor([0.5, -0.5]), 3.0, 0.7, 32)
    renderer(cameras, background=torch.zeros(3)).rgb.sum().backward()
    got = renderer.color.grad.abs().sum(-1) > 0
    assert not bool((got & ~mask).any())
    assert int(got.sum()) > 50


def test_a_nerf_outside_is_the_source_to_the_bit(folder, tmp_path):
    text = "sphere:0.25,0,0.1,0.15"
    edited(folder / "nerf", tmp_path / "run", text, more=["renderer.lr_grid=0.5"])
    old, new = open_scene(folder / "nerf").shape, open_scene(tmp_path / "run").shape
    camera = Cameras.orbit(0.7, 0.4, 2.5, 0.7, 48)
    with torch.no_grad():
        before, after = (scene.eval()(camera, background=torch.zeros(3)) for scene in (old, new))
    origins, directions = camera.rays()
    meets = Region.parse(text).meets(origins.reshape(-1, 3), directions.reshape(-1, 3)).view(1, 48, 48)
    for part in ("rgb", "alpha", "depth"):
        assert torch.equal(getattr(before, part)[~meets], getattr(after, part)[~meets])
    assert 20 < int(meets.sum()) < 1500
    assert not torch.equal(before.rgb[meets], after.rgb[meets])  # negative control
    found = json.loads((tmp_path / "run" / "findings.json").read_text())
    assert found["largest_change_beside_region"] == 0 < found["largest_change_through_region"]


@pytest.mark.parametrize(("source", "region"), [("nerf", "sphere:0.2,0,0,0.3"), ("ball.ply", "box:9,-4,1,14,4,4")])
def test_a_stopped_edit_in_a_region_goes_on_to_the_same_bytes(folder, tmp_path, source, region):
    edited(folder / source, tmp_path / "whole", region, steps=2)
    edited(folder / source, tmp_path / "halves", region, steps=1)
    run(resume=tmp_path / "halves", steps=2, **QUIET)
    a, b = (sorted((tmp_path / name / "checkpoints").iterdir())[-1] for name in ("whole", "halves"))
    assert a.name == b.name == "step-000002"
    assert (a / "tensors.safetensors").read_bytes() == (b / "tensors.safetensors").read_bytes()
    former = b.with_name("step-000001") / "tensors.safetensors"  # the comparison can fail
    assert (a / "tensors.safetensors").read_bytes() != former.read_bytes()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--region", "sphere:0,0,0"], "is not box:"),
        (["--region", "sphere:5,5,5,0.1"], "holds nothing: none of 300 Gaussians"),
        (["--region", "sphere:0,0,0,5"], "holds everything, all 300 Gaussians"),
        (["--region", "sphere:0.3,0,0,0.25", "optimizer.kind=adamw", "optimizer.weight_decay=0.1"], "weight_decay"),
    ],
)
def test_what_the_user_can_put_right_is_one_line(folder, tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["edit", str(folder / "splats.ply"), "a red sphere", "a blue sphere", *words]) == 2
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 1
    assert says in err
    assert out == ""
    assert not list(tmp_path.iterdir())


def test_a_nerf_that_was_edited_in_a_region_says_what_to_do(folder, tmp_path, capsys):
    edited(folder / "nerf", tmp_path / "run", "sphere:0.2,0,0,0.3")
    assert cli.main(["edit", str(tmp_path / "run"), "a", "b", "--out", str(tmp_path / "next")]) == 2
    assert "export it first" in capsys.readouterr().err
    assert not (tmp_path / "next").exists()
