"""Runs and files exported in every format, and refused before any work where that can be known."""

import numpy as np
import pytest
import trimesh

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.files.meshes import read_mesh
from distill3d.files.splats import Splats, read_splats, write_splats
from distill3d.renderers.base import Renderer
from distill3d.run import asset as asset_module
from distill3d.run import export as export_module
from distill3d.run.export import export
from distill3d.run.scene import Scene
from tests.files.meshes.good_files import write_all
from tests.run.test_scene import blob  # noqa: F401  a fixture


@pytest.fixture(autouse=True)
def small_comparison(monkeypatch):
    monkeypatch.setattr(asset_module, "VIEW_SIZE", 32)


@pytest.mark.parametrize("kind", ["glb", "obj", "ply", "stl"])
def test_a_run_in_every_format(blob, tmp_path, kind):  # noqa: F811
    out = tmp_path / f"blob.{kind}"
    made = export(blob.folder, out=out, faces=300, texture=64, resolution=24)
    assert made.paths[0] == out
    assert 50 < made.faces <= 300
    mesh = read_mesh(out).mesh
    assert len(mesh.faces) == made.faces
    assert (mesh.texture is not None) == (kind in ("glb", "obj"))
    assert (mesh.colors is not None) == (kind == "ply")
    radius = np.linalg.norm(mesh.vertices, axis=-1)
    assert radius.std() < 0.2 * radius.mean()  # a blob
    assert ("STL holds no colours" in made.notices) == (kind == "stl")
    assert not (blob.folder / "asset.json").exists()  # the run's own report is left alone


def test_without_a_name_nothing_is_overwritten(blob):  # noqa: F811
    small = {"resolution": 16, "faces": 200, "texture": 64}
    first, second = export(blob.folder, "stl", **small), export(blob.folder, "stl", **small)
    assert [p.name for p in (*first.paths, *second.paths)] == ["export.stl", "export-2.stl"]
    assert first.paths[0].parent == blob.folder
    assert first.paths[0].read_bytes() == second.paths[0].read_bytes()
    for path in (*first.paths, *second.paths):
        path.unlink()


@pytest.mark.parametrize("name", ["cube.obj", "square.glb", "ball.ply", "ball.stl"])
@pytest.mark.parametrize("kind", ["glb", "obj", "ply", "stl"])
def test_a_file_in_every_format(tmp_path, name, kind):
    source = read_mesh(write_all(tmp_path)[name]).mesh
    made = export(tmp_path / name, kind, tmp_path / f"out.{kind}")
    again = read_mesh(made.paths[0]).mesh
    assert made.faces == len(again.faces) == len(source.faces)
    places = [np.sort(m.vertices[m.faces].reshape(-1, 9).round(4), axis=0) for m in (source, again)]
    assert np.abs(places[0] - places[1]).max() < 1e-3  # the same place and size, whatever points up in the file


def test_a_file_within_a_budget(tmp_path):
    ball = trimesh.creation.icosphere(subdivisions=4)
    ball.export(tmp_path / "ball.stl")
    made = export(tmp_path / "ball.stl", out=tmp_path / "small.glb", faces=100)
    assert made.faces <= 100
    assert any("5,120 triangles became" in line for line in made.notices)


class Fused(Renderer):
    """A renderer that is neither a surface nor a density, as splats are: it only can be turned into a mesh."""

    kind = "test_fused"

    def __init__(self, kind=None):
        super().__init__(None)

    def forward(self, cameras, background=None, light=None, normals=False):
        raise AssertionError

    def to_mesh(self, resolution=128, threshold=None):
        sphere = trimesh.creation.icosphere(subdivisions=3)
        return Mesh(sphere.vertices, sphere.faces, (sphere.vertices + 1) / 2)


def test_splats_become_a_mesh_with_a_texture(tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "open_scene", lambda source, up: Scene(Fused(), "balls"))
    made = export("splats.ply", "glb", tmp_path / "a.glb", faces=400, texture=128, resolution=50)
    mesh = read_mesh(tmp_path / "a.glb").mesh
    assert mesh.texture.shape == (128, 128, 3)
    assert made.faces <= 400
    assert any("voxels of 0.04 world units" in line for line in made.notices)


@pytest.fixture
def far_splats(tmp_path):
    """A red ball of Gaussians far from the origin, larger than the unit ball, as another program would write it."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(3000, 3))
    means = 6.0 * directions / np.linalg.norm(directions, axis=-1, keepdims=True) + [20, 0, 5]
    count = len(means)
    sh = np.zeros((count, 1, 3), np.float32)
    sh[:, 0] = [1.5, -1.5, -1.5]
    quats = np.tile([1.0, 0, 0, 0], (count, 1))
    splats = Splats(means.astype(np.float32), quats, np.full((count, 3), np.log(0.3)), np.full(count, 4.0), sh)
    write_splats(splats, tmp_path / "ball.ply")
    return tmp_path / "ball.ply", splats


def test_a_splat_file_keeps_its_place_and_its_layout(far_splats, tmp_path):
    path, splats = far_splats
    made = export(path, out=tmp_path / "again.ply")
    assert made.faces == 0
    again = read_splats(made.paths[0])
    assert np.abs(again.means - splats.means).max() < 1e-4
    assert np.abs(again.log_scales - splats.log_scales).max() < 1e-4
    assert np.array_equal(again.sh, splats.sh)


def test_a_splat_file_as_a_mesh(far_splats, tmp_path):
    path, _ = far_splats
    made = export(path, "glb", tmp_path / "a.glb", faces=1000, texture=64, resolution=32)
    mesh = read_mesh(made.paths[0]).mesh
    radius = np.linalg.norm(mesh.vertices - [20, 0, 5], axis=-1)
    assert radius.mean() == pytest.approx(6, abs=0.5)
    assert mesh.texture.reshape(-1, 3).mean(0)[0] > 0.7 > 0.3 > mesh.texture.reshape(-1, 3).mean(0)[1]
    assert any("voxels of 0.4" in line for line in made.notices)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"kind": "fbx"}, r"unknown export format 'fbx' \(one of: glb, obj, ply, stl\)"),
        ({"kind": "glbb"}, "did you mean 'glb'"),
        ({"out": "a.fbx"}, r"ends in one of: .glb, .obj, .ply, .stl"),
        ({"kind": "glb", "out": "a.obj"}, "the file ends in .obj and --format says glb"),
        ({"faces": 2}, "--faces is 4 to"),
        ({"texture": 10}, "--texture is 64 to"),
        ({"resolution": 4}, "--resolution is 16 to"),
        ({"out": "folder.glb"}, "is a folder"),
        ({"source": "nowhere"}, "no such file or folder"),
    ],
)
def test_bad_input_writes_nothing(tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.glb").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=says):
        export(**{"source": "missing.glb", **arguments})
    assert sorted(tmp_path.rglob("*")) == before
