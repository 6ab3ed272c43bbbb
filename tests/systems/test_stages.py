"""Stages: a NeRF, then tetrahedra that go on from it, in one run folder that resumes to the same bytes."""

import shutil

import pytest
import torch

import distill3d
from distill3d.core.errors import UserError
from distill3d.renderers import Renderer
from distill3d.run.config import load
from distill3d.run.progress import Progress
from tests.diffusion.folders import embedded_folder

COARSE = {
    "steps": 2,
    "renderer": {
        "kind": "nerf",
        "step": 0.1,
        "grid": {"levels": 3, "base": 4, "finest": 16, "log2_table": 12},
        "blob": {"kind": "magic3d", "strength": 10, "radius": 0.5},
        "occupancy": {"resolution": 16},
    },
    "cameras": {"views": 1, "size": 16},
}
FINE = {
    "steps": 2,
    "renderer": {"kind": "tetrahedra", "resolution": 8, "grid": {"levels": 3, "base": 4, "finest": 16}},
    "cameras": {"views": 1, "size": 16},
    "losses": {"laplacian": 1, "normal_consistency": 0.1},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    place = tmp_path_factory.mktemp("stages")
    prior = {"kind": "diffusion", "model": str(embedded_folder(place / "prior"))}
    export = {"formats": [], "turntable_frames": 0}
    settings = {"checkpoint_every": 1, "keep_checkpoints": 9, "preview_every": 0, "log_every": 1, "threads": 1}

    def go(name):
        return distill3d.run(
            "magic3d",
            prompt="a red mushroom",
            prior=prior,
            stages=[COARSE, FINE],
            export=export,
            out=place / name,
            progress=Progress(quiet=True),
            **settings,
        )

    # The first network call of a process may round differently from those of later runs in the same process (torch's
    # own doing), and what is resumed below is a later run: so the one that it is compared with is one too.
    go("first")
    return go("run")


def test_the_second_stage_goes_on_from_the_first(finished):
    assert finished.renderer.kind == "tetrahedra"
    assert finished.finished
    lines = (finished.folder / "metrics.jsonl").read_text().splitlines()
    assert ['"stage": 0.0' in line for line in lines] == [True, True, False, False]
    assert ['"loss/laplacian"' in line for line in lines] == [False, False, True, True]
    volume = finished.renderer.to_mesh()
    assert 0.1 < abs(volume.vertices).max() < 0.9  # the blob's ball, not the one that tetrahedra start as


@pytest.mark.parametrize("last", [1, 2, 3])
def test_killed_in_any_stage_it_ends_with_the_same_bytes(finished, tmp_path, last):
    folder = tmp_path / "again"
    shutil.copytree(finished.folder, folder)
    for path in folder.glob("checkpoints/step-*"):
        if int(path.name.removeprefix("step-")) > last:
            shutil.rmtree(path)
    distill3d.run(resume=folder, progress=Progress(quiet=True))
    for name in ("tensors.safetensors", "state.json"):
        end = "checkpoints/step-000004/" + name
        assert (folder / end).read_bytes() == (finished.folder / end).read_bytes()


def test_an_empty_first_stage_is_refused():
    empty = Renderer.build({"kind": "nerf", "grid": {"levels": 2, "log2_table": 10}})
    empty.density_at = lambda points: torch.zeros(len(points))
    with pytest.raises(UserError) as refusal:
        Renderer.build({"kind": "tetrahedra", "resolution": 8}).start_from(empty)
    assert "\n" not in str(refusal.value)


def test_the_steps_are_the_sum_over_the_stages():
    config = load("magic3d", ["prompt=a cat", "stages.0.steps=3", "stages.1.steps=4"]).config
    assert config.steps == 7
    with pytest.raises(UserError, match=r"^steps is the sum over the stages, 210: change stages\.N\.steps instead$"):
        load("magic3d", ["prompt=a cat", "steps=9"])


def test_a_misspelt_key_in_a_stage_is_named():
    with pytest.raises(UserError, match=r"stages\.1.*resolutoin.*resolution"):
        load("magic3d", ["prompt=a cat", "stages.1.renderer.resolutoin=9"])
    with pytest.raises(UserError, match="no stage"):
        load("magic3d", prompt="a cat", stages=[])
