"""`distill3d capture`: pictures and poses of any scene fit each other, as a program that reads them sees it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from distill3d import cli
from distill3d.core.errors import UserError
from distill3d.files.captures import read_capture
from distill3d.files.meshes import read_mesh
from distill3d.run.capture import capture

SIZE = 64


@pytest.fixture(scope="module")
def wedge(tmp_path_factory):
    """Not symmetric, and neither at the origin nor of unit size."""
    path = tmp_path_factory.mktemp("mesh") / "wedge.obj"
    corners = [(3, 1, 0), (9, 1, 0), (3, 3, 0), (3, 1, 5)]
    faces = [(1, 3, 2), (1, 2, 4), (2, 3, 4), (1, 4, 3)]
    lines = [f"v {x} {y} {z}" for x, y, z in corners] + [f"f {a} {b} {c}" for a, b, c in faces]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def photographed(wedge, tmp_path_factory):
    return capture(wedge, tmp_path_factory.mktemp("out") / "new", views=6, size=SIZE, held_out=2, up="z").parent


def inside(points, layout, frame, alpha) -> float:
    """The share of world points that fall on the mask of a frame, by the layout's own definition."""
    to_camera = np.linalg.inv(np.array(frame["transform_matrix"]))
    local = points @ to_camera[:3, :3].T + to_camera[:3, 3]
    u = (layout["cx"] + layout["fl_x"] * local[:, 0] / -local[:, 2]).astype(int).clip(0, SIZE - 1)
    v = (layout["cy"] - layout["fl_y"] * local[:, 1] / -local[:, 2]).astype(int).clip(0, SIZE - 1)
    return float((alpha[v, u] > 0).mean())


def test_the_surface_falls_on_the_mask_of_its_own_pose_and_not_of_another(wedge, photographed):
    layout = json.loads((photographed / "transforms.json").read_text())
    masks = [np.asarray(Image.open(photographed / frame["file_path"]))[..., 3] for frame in layout["frames"]]
    mesh = read_mesh(wedge, "z").mesh.in_unit_ball()
    weights = np.random.default_rng(0).dirichlet(np.ones(3), 500)
    points = np.einsum("pc,fcx->fpx", weights, np.asarray(mesh.vertices)[np.asarray(mesh.faces)]).reshape(-1, 3)
    own = [inside(points, layout, frame, mask) for frame, mask in zip(layout["frames"], masks, strict=True)]
    other = [inside(points, layout, layout["frames"][i - 1], mask) for i, mask in enumerate(masks)]
    assert min(own) > 0.98
    assert max(other) < 0.9


def test_it_is_read_back_with_its_split(photographed):
    read = read_capture(photographed)
    assert len(read.cameras) == 6
    assert len(json.loads((photographed / "transforms_test.json").read_text())["frames"]) == 2


def test_nothing_is_overwritten_and_numbers_are_checked_first(wedge, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(UserError, match="exists already"):
        capture(wedge, tmp_path)
    for words in (["--views", "0"], ["--size", "9999"], ["--held-out", "60"], ["--light", "2"]):
        assert cli.main(["capture", str(wedge), "--out", str(tmp_path / "new"), *words]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert cli.main(["capture", str(tmp_path / "mine.txt"), "--out", str(tmp_path / "new")]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
