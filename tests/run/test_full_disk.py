"""A disk that fills up while something is written: one line, nothing half written, what was there stays.

The kernel's limit on the size of a file stands for the full disk: a write beyond it fails half way, as there.
"""

import contextlib
import resource

import numpy as np
import pytest

import distill3d
from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.files.meshes import read_mesh
from distill3d.files.stl import write_stl
from distill3d.files.video import write_mp4
from distill3d.run import asset as asset_module
from distill3d.run import checkpoint
from distill3d.run.asset import write_asset
from distill3d.run.export import export
from distill3d.run.folder import RunFolder
from distill3d.run.progress import Progress
from distill3d.run.render import render
from distill3d.run.report import write_report
from tests.files.meshes.good_files import ball
from tests.run.test_scene import blob  # noqa: F401  a fixture

SMALL = {"resolution": 24, "faces": 500, "texture_size": 64}


@contextlib.contextmanager
def full_after(size):
    """Inside, a file cannot grow beyond `size` bytes, here and in programs that are started."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@contextlib.contextmanager
def refused(says="File too large"):
    with pytest.raises(UserError, match=says) as error:
        yield
    assert "\n" not in str(error.value)


@pytest.fixture(autouse=True)
def small_comparison(monkeypatch):
    monkeypatch.setattr(asset_module, "VIEW_SIZE", 32)


@pytest.mark.parametrize("kind", ["glb", "obj", "ply"])
def test_an_asset(blob, tmp_path, kind):  # noqa: F811
    with full_after(3000), refused():
        write_asset(blob.renderer, tmp_path, formats=(kind,), **SMALL)
    assert files(tmp_path) == []
    write_asset(blob.renderer, tmp_path, formats=(kind,), **SMALL)  # negative control: there is room again
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    assert f"asset.{kind}" in before
    with full_after(3000), refused():
        write_asset(blob.renderer, tmp_path, formats=(kind,), **SMALL)
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


def test_an_stl_and_an_export(tmp_path):
    sphere = ball()
    with full_after(1000), refused():
        write_stl(Mesh(sphere.vertices, sphere.faces), tmp_path / "a.stl")
    assert files(tmp_path) == []
    sphere.export(tmp_path / "ball.stl")
    with full_after(1000), refused():
        export(tmp_path / "ball.stl", "glb", tmp_path / "a.glb")
    assert files(tmp_path) == ["ball.stl"]
    assert len(read_mesh(export(tmp_path / "ball.stl", "glb", tmp_path / "a.glb").paths[0]).mesh.faces) == 80


def test_a_checkpoint(fit, tmp_path):
    quiet = {"progress": Progress(quiet=True)}
    values = {"prompt": "a", "renderer.size": 48, "preview_every": 0, "checkpoint_every": 4}
    with full_after(20_000), refused():
        distill3d.run(fit, out=tmp_path / "run", steps=8, **values, **quiet)
    assert not list((tmp_path / "run").rglob("step-*"))
    assert not list((tmp_path / "run").rglob("*tmp*"))
    result = distill3d.run(resume=tmp_path / "run", **quiet)  # it begins anew: no checkpoint had come about
    assert result.finished

    folder = RunFolder.open(tmp_path / "run")
    before = {p.name: p.read_bytes() for p in checkpoint.latest(folder).iterdir()}
    with full_after(20_000), refused():
        distill3d.run(resume=tmp_path / "run", steps=12, **quiet)
    assert checkpoint.latest(folder).name == "step-000008"
    assert {p.name: p.read_bytes() for p in checkpoint.latest(folder).iterdir()} == before


def test_a_report(blob):  # noqa: F811
    page = write_report(blob.folder)
    before = page.read_bytes()
    with full_after(1000), refused():
        write_report(blob.folder)
    assert page.read_bytes() == before
    page.unlink()
    with full_after(1000), refused():
        write_report(blob.folder)
    assert not page.exists()
    assert write_report(blob.folder).read_bytes() == before


def test_a_film(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (12, 64, 64, 3), np.uint8)
    with full_after(10_000), refused("cannot be encoded"):
        write_mp4(iter(noise), tmp_path / "a.mp4")
    assert files(tmp_path) == []
    write_mp4(iter(noise), tmp_path / "a.mp4")
    before = (tmp_path / "a.mp4").read_bytes()
    assert len(before) > 10_000
    with full_after(10_000), refused("cannot be encoded"):
        write_mp4(iter(noise), tmp_path / "a.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == before
    assert files(tmp_path) == ["a.mp4"]


def test_a_rendered_picture(tmp_path):
    ball().export(tmp_path / "ball.stl")
    with full_after(200), refused():
        render(tmp_path / "ball.stl", tmp_path / "a.png", view="front", size=64)
    assert files(tmp_path) == ["ball.stl"]
