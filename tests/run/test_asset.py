import json

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from distill3d.core.errors import UserError
from distill3d.core.rendering import Rendering
from distill3d.files.pictures import to_bytes
from distill3d.renderers.base import Renderer, over
from distill3d.run import asset as asset_module
from distill3d.run.asset import comparison_cameras, write_asset
from distill3d.run.turntable import write_turntable

SMALL = {"resolution": 40, "faces": 3000, "texture_size": 128}


class Ball(Renderer):
    """A ball of density whose colour depends on the place, rendered by dense marching."""

    def __init__(self, radius=0.5, peak=80.0, order=(0, 1, 2), moved=0.0):
        super().__init__(None)
        self.radius, self.peak, self.order, self.moved = radius, peak, order, moved
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def density_at(self, points):
        return self.peak * torch.sigmoid((self.radius - (points - self.moved).norm(dim=-1)) / 0.015)

    def color_at(self, points):
        return 0.5 + 0.4 * torch.sin(points[:, list(self.order)] * torch.tensor([3.0, 5.0, 7.0]))

    def forward(self, cameras, background=None, light=None, normals=False):
        origins, directions = cameras.rays()
        t = torch.linspace(2.2, 4.2, 120)
        points = origins[..., None, :] + directions[..., None, :] * t[:, None]
        density = Ball.density_at(self, points.reshape(-1, 3)).reshape(points.shape[:-1])
        color = Ball(order=(0, 1, 2)).color_at(points.reshape(-1, 3)).reshape(points.shape)
        thickness = density * (t[1] - t[0])
        weights = torch.exp(-(thickness.cumsum(-1) - thickness)) * (1 - torch.exp(-thickness))
        alpha = weights.sum(-1, keepdim=True)
        depth = (weights * t).sum(-1, keepdim=True) / alpha.clamp_min(1e-6)
        return Rendering(over((weights[..., None] * color).sum(-2), alpha, background), alpha, depth)


@pytest.fixture(autouse=True)
def small_comparison(monkeypatch):
    monkeypatch.setattr(asset_module, "VIEW_SIZE", 40)


def test_asset_looks_like_the_renderer_and_files_reopen(tmp_path):
    stages = []
    renderer = Ball().train()
    report = write_asset(
        renderer, tmp_path, **SMALL, formats=("glb", "obj", "ply"), name="a ball", progress=stages.append
    )
    assert renderer.training
    assert report.silhouette_iou > 0.93  # of pictures of 40 pixels, a ring of one pixel is 15 %
    assert report.color_difference < 0.03
    assert report.faces <= 3000 < report.faces_before
    assert stages == list(report.seconds)
    radius = np.linalg.norm(report.mesh.vertices, axis=-1)
    assert np.abs(radius - radius.mean()).max() < 1 / 39  # half a voxel
    for kind in ("glb", "obj", "ply"):
        assert len(trimesh.load(report.paths[kind], force="mesh", process=False).faces) == report.faces
    ply = trimesh.load(report.paths["ply"], process=False)
    expected = to_bytes(renderer.color_at(torch.tensor(np.array(ply.vertices), dtype=torch.float32)).numpy())
    assert np.abs(np.asarray(ply.visual.vertex_colors)[:, :3].astype(int) - expected).mean() < 10
    numbers = json.loads((tmp_path / "asset.json").read_text())
    assert numbers["paths"]["glb"] == "asset.glb"
    assert numbers["level"] == report.level


def test_report_sees_wrong_colours_and_wrong_places(tmp_path):  # negative controls
    right = write_asset(Ball(), tmp_path, **SMALL)
    wrong_axes = write_asset(Ball(order=(2, 0, 1)), tmp_path, **SMALL)
    assert wrong_axes.color_difference > 5 * right.color_difference
    moved = Ball(moved=0.15)
    moved.density_at = Ball().density_at  # meshed here, rendered there
    assert write_asset(moved, tmp_path, **SMALL).silhouette_iou < 0.8


def test_same_renderer_gives_the_same_bytes(tmp_path):
    for name in ("first", "second"):
        write_asset(Ball(), tmp_path / name, **SMALL)
    assert (tmp_path / "first/asset.glb").read_bytes() == (tmp_path / "second/asset.glb").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"formats": ("glb", "fbx")}, "'fbx'.*glb, obj, ply"),
        ({"resolution": 4}, "resolution 4"),
        ({"faces": 0}, "budget 0"),
        ({"texture_size": 10}, "texture size 10"),
    ],
)
def test_bad_numbers_stop_before_any_work(tmp_path, change, message):
    renderer = Ball()
    renderer.density_at = None  # would fail if asked
    with pytest.raises(UserError, match=message):
        write_asset(renderer, tmp_path, **{**SMALL, **change})
    assert list(tmp_path.iterdir()) == []


def test_empty_and_exploded_densities_are_user_errors(tmp_path):
    with pytest.raises(UserError, match="empty"):
        write_asset(Ball(peak=0.01), tmp_path, **SMALL)
    with pytest.raises(UserError, match="exploded"):
        write_asset(Ball(radius=3.0), tmp_path, **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_turntable_of_mesh_and_of_renderer_show_the_same(tmp_path):
    renderer = Ball()
    mesh = write_asset(renderer, tmp_path, **SMALL).mesh
    pictures = {}
    for name, scene in (("mesh", mesh), ("renderer", renderer)):
        paths = write_turntable(scene, tmp_path / name / "turntable.mp4", frames=2, size=32)
        assert all(path.stat().st_size > 300 for path in paths.values())
        with Image.open(paths["views"]) as image:
            pictures[name] = np.asarray(image) / 255
    assert pictures["mesh"].shape == (64, 8 * 64, 3)
    assert len(comparison_cameras()) == 8
    difference = np.abs(pictures["mesh"] - pictures["renderer"]).mean()
    assert difference < 0.05  # the ball above ignores the light
    assert np.abs(np.roll(pictures["mesh"], 64, 1) - pictures["renderer"]).mean() > 1.5 * difference
