"""Runs and files opened again: the same renderer as the run ended with, and one line where that cannot be."""

import shutil

import pytest
import torch
import yaml
from fit_image import FitImage

import distill3d
from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.run.folder import RunFolder
from distill3d.run.progress import Progress
from distill3d.run.scene import chosen_name, free_name, load_run, open_scene
from tests.files.meshes.good_files import write_all

QUIET = {"progress": Progress(quiet=True)}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def blob(tmp_path_factory):
    """A real NeRF after three steps, with two of its levels let in by then."""
    folder = tmp_path_factory.mktemp("blob")
    grid = {"levels": 4, "log2_table": 10, "finest": 32, "first_levels": 1, "fine_every": 2}
    tree = {
        "system": "blob:Blob",
        "renderer": {"kind": "nerf", "grid": grid},
        "steps": 3,
        "threads": 1,
        "export": {"formats": [], "turntable_frames": 0},
    }
    (folder / "blob.yaml").write_text(yaml.safe_dump(tree))
    return distill3d.run(folder / "blob.yaml", out=folder / "run", **QUIET)


def picture(renderer):
    renderer.eval()
    with torch.no_grad():
        return renderer(Cameras.orbit(0.5, size=24), background=torch.zeros(3)).rgb


def test_a_run_is_opened_as_it_ended(blob):
    scene = open_scene(blob.folder, device=CPU)
    assert torch.equal(picture(scene.shape), picture(blob.renderer))
    assert scene.name == "run"
    assert scene.shape.field.active_levels == blob.renderer.field.active_levels == 2
    untrained = type(scene.shape)(scene.shape.config)  # negative control
    assert not torch.equal(picture(untrained), picture(blob.renderer))


def test_splats_of_a_run_show_their_harmonics(tmp_path):
    tree = {
        "system": "blob:Blob",
        "renderer": {"kind": "gaussians", "sh_degree": 2, "sh_every": 2, "start": {"count": 50, "opacity": 0.5}},
        "steps": 4,
        "threads": 1,
        "export": {"formats": [], "turntable_frames": 0},
    }
    (tmp_path / "blob.yaml").write_text(yaml.safe_dump(tree))
    result = distill3d.run(tmp_path / "blob.yaml", out=tmp_path / "run", **QUIET)
    scene = open_scene(result.folder, device=CPU)
    assert scene.shape.degree == result.renderer.degree == 1
    assert torch.equal(picture(scene.shape), picture(result.renderer))
    scene.shape.degree = 0  # negative control: without them it is another picture
    assert not torch.equal(picture(scene.shape), picture(result.renderer))


def test_the_whole_system_of_a_run(fit, tmp_path):
    result = distill3d.run(fit, out=tmp_path / "run", prompt="a", steps=5, **QUIET)
    system = load_run(tmp_path / "run", CPU)
    assert isinstance(system, FitImage)
    assert torch.equal(system.renderer.pixels, result.renderer.pixels)
    assert system.drift == pytest.approx(0.99**5)


def test_a_renderer_that_is_not_built_from_its_section_alone_comes_with_its_system(fit, tmp_path, monkeypatch):
    result = distill3d.run(fit, out=tmp_path / "run", prompt="a", steps=2, **QUIET)
    built = []
    original = FitImage.__init__
    monkeypatch.setattr(FitImage, "__init__", lambda self, *a, **k: (built.append(1), original(self, *a, **k))[1])
    scene = open_scene(tmp_path / "run", device=CPU)
    assert torch.equal(scene.shape.pixels, result.renderer.pixels)
    assert not built  # the quick way: no system, so no prior either
    monkeypatch.setattr(FitImage, "sections", {})
    assert torch.equal(open_scene(tmp_path / "run", device=CPU).shape.pixels, result.renderer.pixels)
    assert built


def test_files(tmp_path):
    good = write_all(tmp_path)
    scene = open_scene(good["text.ply"])
    assert isinstance(scene.shape, Mesh)
    assert scene.notices == [f"{good['text.ply']}: it is not closed: 4 edges have one triangle"]


def test_what_cannot_be_opened_is_one_line(blob, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("hello")
    shutil.copytree(blob.folder, tmp_path / "young", ignore=shutil.ignore_patterns("step-*"))
    for source, says in (
        (tmp_path / "nowhere", "there is no such file or folder"),
        (tmp_path / "empty", "not a run folder"),
        (tmp_path / "a.txt", "neither a run folder nor a file that ends in one of: glb, gltf, obj, ply, stl"),
        (tmp_path / "young", "has no checkpoint yet"),
    ):
        with pytest.raises(UserError, match=says) as error:
            open_scene(source, device=CPU)
        assert str(source) in str(error.value)
    with pytest.raises(UserError, match="--up is for files"):
        open_scene(blob.folder, up="y", device=CPU)
    with RunFolder.open(blob.folder).locked(), pytest.raises(UserError, match="in use by another run"):
        open_scene(blob.folder, device=CPU)


def test_names_that_are_free(tmp_path):
    lines = []
    path = tmp_path / "a.glb"
    assert free_name(path) == path
    path.write_text("mine")
    (tmp_path / "a-2.glb").write_text("mine")
    assert free_name(path) == tmp_path / "a-3.glb"
    assert chosen_name(None, path, lines.append) == tmp_path / "a-3.glb"
    assert lines == []
    assert chosen_name(path, path, lines.append) == path
    assert "will be replaced" in lines[0]
    with pytest.raises(UserError, match="is a folder"):
        chosen_name(tmp_path, path, lines.append)
    with pytest.raises(UserError, match="is a file"):
        chosen_name(path / "b.glb", path, lines.append)


def test_a_capture_is_put_back_where_its_file_had_it(fit, tmp_path, monkeypatch):
    """A system that keeps a normalization, as reconstruct does: x -> 2 (x - 3)."""
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] *= 2
    matrix[:3, 3] = -6
    original = FitImage.__init__

    def with_normalization(self, *args, **kwargs):
        original(self, *args, **kwargs)
        self.register_buffer("normalization", matrix.clone())

    monkeypatch.setattr(FitImage, "__init__", with_normalization)
    distill3d.run(fit, out=tmp_path / "run", prompt="a", steps=1, **QUIET)
    undo = open_scene(tmp_path / "run", device=CPU).placing.undo
    assert undo(matrix[:3, 3].numpy()[None])[0].tolist() == pytest.approx([0, 0, 0], abs=1e-12)
    assert undo([[0.0, 0.0, 0.0]] @ matrix[:3, :3].numpy())[0].tolist() == pytest.approx([3, 3, 3])
