"""Edits in what a mask on one view shows: which elements they reach, what stays, and masks that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

import distill3d
from distill3d import cli
from distill3d.core.cameras import Cameras
from distill3d.files.captures.writing import spiral, write_frames
from distill3d.geometry.region import Region
from distill3d.run.capture_views import capture_views
from distill3d.run.edit import as_renderer, edit
from distill3d.run.locating import Listener, RegionAsked, locate
from distill3d.run.progress import Progress
from distill3d.run.scene import open_scene
from tests.run.sources import far_ball, write_nerf_run, write_splats

QUICK = ["threads=1", "cameras.views=2", "export.turntable_frames=0", "preview_every=0", "steps=2", "export.formats=[]"]
NOBODY = Listener({}, None, torch.device("cpu"))
QUIET = {"progress": Progress(quiet=True)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Splats, a ball far from the origin, a NeRF, a capture that a NeRF was begun from, and masks."""
    path = tmp_path_factory.mktemp("sources")
    write_splats(path / "splats.ply", 1500, 0.6)
    far_ball().export(path / "ball.ply")
    write_nerf_run(path)
    disc = np.hypot(*np.mgrid[-1:1:48j, -1:1:48j]) < 0.3
    picture = np.dstack([np.full((48, 48, 3), 0.6), disc]).astype(np.float32)
    write_frames(path / "capture", iter([picture] * 6), spiral(6, 48, 0), "disc", 0)
    told = ["renderer.space.kind=ball", "renderer.step=0.05", "renderer.grid.levels=4", "renderer.grid.log2_table=10"]
    told += ["renderer.grid.finest=32", "steps=40", "threads=1", "hold_out_every=0", "batch.samples=8192"]
    told += ["export.formats=[]", "export.turntable_frames=0", "preview_every=0"]
    distill3d.run("reconstruct", data=str(path / "capture"), out=path / "scan", overrides=told, **QUIET)
    left, top = np.zeros((2, 128, 128), np.uint8)
    left[:, :64] = 255
    top[:56] = 255
    for name, mask in (("left", left), ("right", 255 - left), ("top", top), ("none", 0 * top), ("all", 0 * top + 255)):
        Image.fromarray(mask).save(path / f"{name}.png")
    alpha = np.dstack([np.full((128, 128, 3), 255, np.uint8), left])
    Image.fromarray(alpha).save(path / "left-alpha.png")
    Image.fromarray(top[:, :90]).save(path / "narrow.png")
    corner = np.zeros((64, 64), np.uint8)
    corner[:4, :4] = 255
    Image.fromarray(corner).save(path / "corner.png")
    return path


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """Splats, edited in what the left half of the front view shows."""
    return edited(folder / "splats.ply", tmp_path_factory.mktemp("runs") / "run", f"mask={folder}/left.png")


def edited(source, out, region, **more):
    edit(source, "a red sphere", "a blue cube", region=region, out=out, overrides=QUICK, **more, **QUIET)
    return out


def found(source, mask, up=None, **options) -> Region:
    """The region of a mask, in the coordinates of its file."""
    scene = open_scene(source, up)
    renderer, placing = as_renderer(scene.shape, scene.placing)
    return Region.parse(locate(RegionAsked(f"mask={mask}", **options), renderer, placing, source, NOBODY).text)


def region_of(folder: Path) -> Region:
    return Region.parse(yaml.safe_load((folder / "config.yaml").read_text())["region"])


def state(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(sorted((folder / "checkpoints").iterdir())[-1] / "tensors.safetensors")


def test_splats_under_the_mask_move_and_the_others_keep_their_bytes(run):
    """Seen from +x the left half is where y < 0, from the front to the back."""
    after = state(run)
    old = after["system.source.means"]
    inside = region_of(run).contains(old)
    assert 100 < int(inside.sum()) < 1000
    assert old[inside, 1].max() < 0.1
    assert inside[old[:, 1] < -0.1].float().mean() > 0.8
    assert float(old[inside, 0].min()) < -0.25 < 0.25 < float(old[inside, 0].max())
    names = [key.removeprefix("system.source.") for key in after if key.startswith("system.source.")]
    kept = [name for name in names if len(after[f"system.source.{name}"]) == len(old)]
    assert len(kept) >= 5
    for name in kept:
        assert torch.equal(after[f"system.renderer.{name}"][~inside], after[f"system.source.{name}"][~inside])
    assert not torch.equal(after["system.renderer.means"][inside], old[inside])  # negative control


def test_the_region_is_shown_and_counted(run):
    picture = np.asarray(Image.open(run / "region.png")).astype(int)
    plain, tinted = picture[:128], picture[128:]
    changed = (plain != tinted).any(-1)
    assert 0.005 < changed.mean() < 0.2
    assert (tinted - plain)[changed][:, 1].mean() < 0  # the tint has no green
    found = json.loads((run / "findings.json").read_text())
    assert found["gaussians_in_region"] == int(region_of(run).contains(state(run)["system.source.means"]).sum())
    assert found["gaussians_in_all"] == 1500
    assert 0.01 < found["region_of_unit_ball"] < 0.3
    assert "What may change" in (run / "report.html").read_text()


def test_alpha_is_a_mask_too_and_another_view_means_another_place(folder):
    splats, means = folder / "splats.ply", open_scene(folder / "splats.ply").shape.means
    left, alpha = found(splats, folder / "left.png"), found(splats, folder / "left-alpha.png", view="0,15")
    assert torch.equal(left.contains(means), alpha.contains(means))
    back = found(splats, folder / "left.png", view="back")
    assert means[back.contains(means), 1].min() > -0.1


def test_depth_ends_the_region_behind_the_surface(folder):
    """A ball of radius 3 around (10, 0, 0) in its file: lengths are the file's."""
    ball, mask = folder / "ball.ply", folder / "top.png"
    points = torch.tensor([[12.0, 0.0, 2.0], [8.5, 0.0, 2.0], [12.0, 0.0, -1.0]])
    assert found(ball, mask, "z", view="0,0").contains(points).tolist() == [True, True, False]
    shallow = found(ball, mask, "z", view="0,0", depth=0.5, radius=0.2)
    assert shallow.contains(points).tolist() == [True, False, False]


def test_a_photograph_may_bear_the_mask(folder):
    region, scene = found(folder / "scan", folder / "left.png", view="2"), open_scene(folder / "scan")
    middle = torch.from_numpy(scene.placing.points(region.center.numpy()[None])).float()
    camera = capture_views(folder / "scan", lens=True)[2]
    local = (middle - camera.position) @ camera.camera_to_world[0, :3, :3]
    assert float(local[0, 0]) < 0  # to the left of this camera's axis
    assert float(middle.norm()) < 0.9
    right = found(folder / "scan", folder / "right.png", view="2")
    other = torch.from_numpy(scene.placing.points(right.center.numpy()[None])).float()
    assert float(((other - camera.position) @ camera.camera_to_world[0, :3, :3])[0, 0]) > 0  # negative control


def test_a_nerf_beside_the_region_is_the_source_to_the_bit(folder, tmp_path):
    edited(folder / "nerf", tmp_path / "run", f"mask={folder}/left.png", region_depth=0.2)
    old, new = open_scene(folder / "nerf").shape, open_scene(tmp_path / "run").shape
    camera = Cameras.orbit(0.0, 0.4, 2.5, 0.7, 48)
    with torch.no_grad():
        before, after = (scene.eval()(camera, background=torch.zeros(3)) for scene in (old, new))
    origins, directions = camera.rays()
    meets = region_of(tmp_path / "run").meets(origins.reshape(-1, 3), directions.reshape(-1, 3)).view(1, 48, 48)
    for part in ("rgb", "alpha", "depth"):
        assert torch.equal(getattr(before, part)[~meets], getattr(after, part)[~meets])
    assert int((before.alpha[~meets] > 0.1).sum()) > 20
    assert not torch.equal(before.rgb[meets], after.rgb[meets])  # negative control


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--region", "mask=no.png"], "there is no such file"),
        (["--region", "mask={}/narrow.png"], "the mask has 90 x 128 pixels; its view has 256 x 256"),
        (["--region", "mask={}/none.png"], "black everywhere"),
        (["--region", "mask={}/corner.png"], "under the mask there is nothing of the object"),
        (["--region", "mask={}/all.png"], "covers all of the object"),
        (["--region", "mask={}/left.png", "--region-view", "under"], "unknown view 'under'"),
        (["--region", "mask={}/left.png", "--region-view", "3"], "was made from none"),
        (["--region", "mask={}/left.png", "--region-depth", "-1"], "--region-depth is a length"),
        (["--region", "sphere:0.3,0,0,0.25", "--region-view", "front"], "--region-view belongs to --region mask=FILE"),
        (["--region-radius", "0.1"], "--region-radius belongs to --region mask=FILE"),
    ],
)
def test_what_the_user_can_put_right_is_one_line(folder, tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.chdir(tmp_path)
    words = [word.format(folder) for word in words]
    assert cli.main(["edit", str(folder / "splats.ply"), "a red sphere", "a blue sphere", *words]) == 2
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 1
    assert says in err
    assert out == ""
    assert not list(tmp_path.iterdir())


def test_a_photograph_that_is_not_there_is_one_line(folder, tmp_path, capsys):
    words = ["--region", f"mask={folder}/left.png", "--region-view", "6", "--out", str(tmp_path / "run")]
    assert cli.main(["edit", str(folder / "scan"), "a", "b", *words]) == 2
    assert "was made from photographs 0 to 5" in capsys.readouterr().err
