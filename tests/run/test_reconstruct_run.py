"""`distill3d run reconstruct` as a person runs it: named after the data, judged in the report, put back on export."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import distill3d
from distill3d.core.errors import UserError
from distill3d.files.meshes import read_mesh
from distill3d.files.splats import read_splats
from distill3d.run.export import export
from distill3d.run.progress import Progress
from distill3d.toybox.capture import write_capture

OFFSET, SCALE = np.array([10.0, 0.0, -5.0]), 3.0


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A toy whose world was moved and scaled, as a program that finds poses might."""
    path = write_capture("a red cube", tmp_path_factory.mktemp("captures") / "Red Cube", views=20, size=28)
    content = json.loads(path.read_text())
    for frame in content["frames"]:
        pose = np.array(frame["transform_matrix"])
        pose[:3, 3] = pose[:3, 3] * SCALE + OFFSET
        frame["transform_matrix"] = pose.tolist()
    path.write_text(json.dumps(content))
    return path.parent


def reconstructed(data, tmp_path, monkeypatch, *overrides):
    monkeypatch.chdir(tmp_path)
    settings = ["threads=1", "checkpoint_every=1000", "log_every=10", "judge_every=20", "preview_every=0", *overrides]
    return distill3d.run("reconstruct", overrides=settings, data=str(data), progress=Progress(quiet=True))


def test_splats(data, tmp_path, monkeypatch) -> None:
    result = reconstructed(
        data,
        tmp_path,
        monkeypatch,
        "renderer.kind=gaussians",
        "steps=60",
        "start_points=1500",
        "renderer.lr_means=0.003",
    )
    assert result.folder.resolve() == tmp_path / "outputs" / "reconstruct" / "red-cube"
    assert result.metrics["psnr"] > 18
    found = json.loads((result.folder / "findings.json").read_text())
    assert found["held-out views"] == 3
    assert {p.name for p in (result.folder / "findings").iterdir()} == {"worst.png", "middle.png", "best.png"}
    page = result.paths["report"].read_text()
    assert "What was found" in page
    assert "held_out/psnr by second" in page
    assert "splats.ply" in page

    written = read_splats(result.paths["splats"])
    opaque = written.means[written.logit_opacities > 0]
    assert np.abs(np.median(opaque, axis=0) - OFFSET).max() < 0.5 * SCALE  # where the file had it, not in the unit ball
    assert np.linalg.norm(np.median(result.renderer.to_splats().means, axis=0)) < 0.6
    again = export(result.folder, "ply", tmp_path / "again.ply")
    assert np.allclose(read_splats(again.paths[0]).means, written.means, atol=1e-4)


def test_a_mesh_stands_where_the_file_had_the_subject(data, tmp_path, monkeypatch) -> None:
    ball = ["renderer.space.kind=ball", "renderer.step=0.05", "renderer.grid.finest=48", "batch.samples=8192"]
    export_settings = "export={formats: [glb, ply], resolution: 32, faces: 500, texture_size: 64, turntable_frames: 0}"
    result = reconstructed(data, tmp_path, monkeypatch, "steps=60", "lr_scale=1", *ball, export_settings)
    written = read_mesh(result.paths["ply"], up="z").mesh
    middle = (written.vertices.max(0) + written.vertices.min(0)) / 2
    assert np.abs(middle - OFFSET).max() < 0.4 * SCALE
    assert np.abs(result.mesh.vertices).max() < 1.1  # the result's own is in the renderer's world


def test_splats_of_a_renderer_that_has_none_are_refused_before_any_work(data, tmp_path, monkeypatch) -> None:
    with pytest.raises(UserError, match=r"splats are what renderer\.kind=gaussians makes, not nerf"):
        reconstructed(data, tmp_path, monkeypatch, "export.formats=[splats]")
    assert not (tmp_path / "outputs").exists()


def test_a_run_that_finds_nothing_writes_nothing_of_it(fit, tmp_path) -> None:
    result = distill3d.run(fit, out=tmp_path / "run", prompt="a", steps=2, progress=Progress(quiet=True))
    assert not (result.folder / "findings.json").exists()
    assert "What was found" not in result.paths["report"].read_text()
    assert torch.is_tensor(result.renderer.pixels)
