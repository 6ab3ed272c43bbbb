"""A mesh read as parts, as a run."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import distill3d
from distill3d.cli import main
from distill3d.core.mesh import Mesh
from distill3d.files.glb import write_glb
from distill3d.geometry.iso_surface import iso_surface
from distill3d.toybox.shapes import sample_shape
from distill3d.toybox.shapes.solid_grid import filled_cells

QUICK = {"preview_every": 0, "export": {"formats": ["glb"], "turntable_frames": 0, "resolution": 48}}


@pytest.fixture(scope="module")
def chair(tmp_path_factory):
    cells = filled_cells(sample_shape(np.random.default_rng(123), "chair").parts, 64) >= 0
    path = tmp_path_factory.mktemp("meshes") / "chair.glb"
    write_glb(iso_surface(cells.astype(np.float32), 0.5), path)
    return path


def test_a_run_reads_a_mesh_and_comes_closer_to_it(chair, tmp_path):
    result = distill3d.run("spaghetti", mesh=str(chair), steps=8, log_every=1, out=tmp_path / "run", **QUICK)
    rows = [row["loss/occupancy"] for row in result_rows(tmp_path / "run")]
    assert np.mean(rows[-3:]) < np.mean(rows[:3])
    assert result.paths["glb"].is_file()
    assert len(result.mesh.faces) > 500


def test_it_resumes_to_the_bytes_of_never_stopping(chair, tmp_path):
    whole = distill3d.run("spaghetti", mesh=str(chair), steps=4, out=tmp_path / "whole", **QUICK)
    distill3d.run("spaghetti", mesh=str(chair), steps=2, out=tmp_path / "half", **QUICK)
    again = distill3d.run(resume=tmp_path / "half", steps=4)
    assert torch.equal(whole.renderer.means, again.renderer.means)
    assert torch.equal(whole.renderer.intrinsics, again.renderer.intrinsics)


def test_what_cannot_be_read_is_one_line_and_leaves_nothing(tmp_path, capsys):
    sheet = Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    write_glb(sheet, tmp_path / "open.glb")
    out = tmp_path / "run"
    for mesh, says in ((tmp_path / "open.glb", "is open"), (tmp_path / "no.glb", "no.glb")):
        assert main(["run", "spaghetti", f"mesh={mesh}", "--out", str(out)]) == 2
        told = capsys.readouterr().err.strip().splitlines()
        assert says in told[-1]
        assert not out.exists()


def result_rows(folder):

    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
