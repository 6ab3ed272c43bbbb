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

QUICK = {"points": 1000, "preview_every": 0, "log_every": 1, "export": {"formats": [], "turntable_frames": 0}}
EXPORT = {"formats": ["glb"], "turntable_frames": 0, "resolution": 48, "texture_size": 256}


@pytest.fixture(scope="module")
def chair(tmp_path_factory):
    cells = filled_cells(sample_shape(np.random.default_rng(123), "chair").parts, 64) >= 0
    path = tmp_path_factory.mktemp("meshes") / "chair.glb"
    write_glb(iso_surface(cells.astype(np.float32), 0.5), path)
    return path


@pytest.fixture(scope="module")
def whole(chair, tmp_path_factory):
    """A run of 8 steps, with its mesh."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return distill3d.run("spaghetti", mesh=str(chair), steps=8, out=out, **{**QUICK, "export": EXPORT})


def test_a_run_reads_a_mesh_and_comes_closer_to_it(whole):
    rows = [row["loss/occupancy"] for row in result_rows(whole.folder)]
    assert np.mean(rows[-3:]) < np.mean(rows[:3])
    assert whole.paths["glb"].is_file()
    assert len(whole.mesh.faces) > 500


def test_it_resumes_to_the_bytes_of_never_stopping(chair, whole, tmp_path):
    half = distill3d.run("spaghetti", mesh=str(chair), steps=4, out=tmp_path / "half", **QUICK)
    again = distill3d.run(resume=tmp_path / "half", steps=8)
    for name in ("means", "intrinsics"):
        assert torch.equal(getattr(whole.renderer, name), getattr(again.renderer, name))
        assert not torch.equal(getattr(whole.renderer, name), getattr(half.renderer, name))  # the comparison can fail


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
