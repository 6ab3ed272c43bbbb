"""Photographs become a scene: views that were held out are met, and the subject stands where the file had it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.run.api import build
from distill3d.run.config import load
from distill3d.run.loop import make_optimizer
from distill3d.systems.capture_points import swept_points
from distill3d.systems.reconstruct import Reconstruct
from distill3d.toybox.capture import write_capture
from tests.files.captures.scenes import write_transforms

BALL = {
    "kind": "nerf",
    "step": 2 / 40,
    "grid": {"levels": 6, "finest": 48, "log2_table": 13},
    "blob": {"kind": "none"},
    "network": {"activation": "exp", "density_scale": 2.0},
    "occupancy": {"resolution": 24, "refresh_every": 8},
}
CONTRACTED = {**BALL, "space": {"kind": "contracted", "near": 0.2, "far": 4.0}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A toy from 20 sides, 28 pixels, with alpha; its world moved and scaled, as a program that finds poses might."""
    path = write_capture("a red cube", tmp_path_factory.mktemp("toy"), views=20, size=28)
    content = json.loads(path.read_text())
    for frame in content["frames"]:
        pose = np.array(frame["transform_matrix"])
        pose[:3, 3] = pose[:3, 3] * 3 + [10, 0, -5]
        frame["transform_matrix"] = pose.tolist()
    path.write_text(json.dumps(content))
    return path.parent


def system(folder, renderer=BALL, **values) -> Reconstruct:
    values = {"batch": {"samples": 8192, "rays": 1024}, "steps": 60, "lr_scale": 1.0, **values}
    return build(load("reconstruct", data=str(folder), renderer=renderer, **values), torch.device("cpu"))


def fit(made: Reconstruct, steps: int) -> list[float]:
    optimizer = make_optimizer(made, made.config.optimizer)
    losses = []
    for step in range(steps):
        made.advance(step, optimizer)
        total = torch.stack(list(made.losses(step).values())).sum()
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()
        losses.append(float(total.detach()))
    return losses


@pytest.mark.parametrize("renderer", [BALL, CONTRACTED], ids=["ball", "contracted"])
def test_held_out_views_are_met(folder, renderer) -> None:
    made = system(folder, renderer)
    before = np.mean([quality.psnr for quality in made.qualities()])
    fit(made, 60)
    found = made.qualities()
    assert [quality.name for quality in found] == ["000.png", "008.png", "016.png"]
    after = np.mean([quality.psnr for quality in found])
    assert after > 19
    assert before < 14
    assert np.mean([quality.ssim for quality in found]) > 0.75
    assert made.estimate() == pytest.approx(after, abs=2.5)  # from one pixel in 36


def test_held_out_pictures_are_not_learnt_from(folder) -> None:
    made = system(folder)
    origins, _, _ = made.seen.random(5000, torch.Generator().manual_seed(0))
    kept = made.capture.cameras.position[made.capture.part(held_out=True)]
    assert torch.cdist(origins, kept).min() > 1e-3
    assert torch.cdist(made.kept.lattice(int(made.kept.pictures[1]), 4)[0], kept).min() < 1e-6


def test_a_wrong_pose_is_noticed(folder, tmp_path) -> None:
    """The views constrain each other: with the pictures given to the wrong cameras nothing fits."""
    content = json.loads((folder / "transforms.json").read_text())
    (tmp_path / "images").symlink_to(folder / "images")
    names = [frame["file_path"] for frame in content["frames"]]
    for frame, name in zip(content["frames"], names[::-1], strict=True):
        frame["file_path"] = name
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="leads out"):
        system(tmp_path)
    (tmp_path / "images").unlink()
    (tmp_path / "images").mkdir()
    for name in names:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    right, wrong = system(folder), system(tmp_path)
    for made in (right, wrong):
        fit(made, 60)
    assert wrong.estimate() < right.estimate() - 2


def test_what_is_exported_stands_where_the_file_had_it(folder) -> None:
    made = system(folder)
    inside = Mesh(np.zeros((1, 3), np.float32), np.zeros((0, 3), np.int64))
    center = made.placing.undo_mesh(inside).vertices[0]
    assert np.abs(center - [10, 0, -5]).max() < 0.5  # the toy is about as large as 3 units there
    other = system(folder)
    other.load_own_state({**made.own_state(), "normalization": torch.eye(4, dtype=torch.float64)})
    assert np.abs(other.placing.undo_mesh(inside).vertices[0]).max() == 0  # the way back is part of the checkpoint


def test_rays_follow_the_samples_that_they_take(folder) -> None:
    made = system(folder, CONTRACTED, batch={"samples": 60_000, "rays": 4096})
    fit(made, 30)
    metrics = made.metrics()
    assert metrics["rays"] > 512
    assert 20_000 < metrics["samples"] < 120_000
    other = system(folder, CONTRACTED, batch={"samples": 60_000, "rays": 4096})
    other.load_own_state(made.own_state())
    assert other._ray_count() == made._ray_count()  # a resumed run takes as many


def test_same_seed_same_losses(folder) -> None:
    assert fit(system(folder, seed=3), 4) == fit(system(folder, seed=3), 4)
    assert fit(system(folder, seed=3), 4) != fit(system(folder, seed=4), 4)


def test_pixels_under_a_mask_are_never_drawn(tmp_path) -> None:
    path = write_transforms(tmp_path)
    content = json.loads(path.read_text())
    from PIL import Image

    mask = np.zeros((32, 24), np.uint8)
    mask[4:9, 10:12] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    for frame in content["frames"]:
        frame["mask_path"] = "mask.png"
    path.write_text(json.dumps(content))
    made = system(tmp_path, CONTRACTED)
    colors = made.seen.random(2000, torch.Generator().manual_seed(0))[2] * 255
    assert set(colors[:, 0].round().long().tolist()) == {50, 55}  # columns 10 and 11, times 5
    assert set(colors[:, 1].round().long().tolist()) == {20, 25, 30, 35, 40}


def test_what_the_report_is_told(folder) -> None:
    made = system(folder)
    numbers, pictures = made.findings()
    assert numbers["held-out views"] == 3
    assert set(numbers) == {"held-out views", "psnr", "ssim"}
    assert all(picture.shape == (28, 56, 3) and picture.dtype == np.uint8 for picture in pictures.values())
    assert any("3 held out" in notice for notice in made.notices())
    nothing = system(folder, hold_out_every=0)
    assert nothing.findings() == ({}, {})
    assert "held_out/psnr" not in nothing.metrics()


def test_the_estimate_is_logged_when_it_is_due(folder) -> None:
    made = system(folder, judge_every=10)
    logged = []
    for step in range(25):
        made._step = step
        logged.append("held_out/psnr" in made.metrics())
    assert [step for step, there in enumerate(logged) if there] == [0, 10, 20]


def test_swept_points_lie_on_what_the_pictures_show(folder) -> None:
    """The cube's points lie in its ball; with the pictures given to the wrong cameras, fewer of them do."""
    capture = system(folder).capture
    points, colors = swept_points(capture, 400, torch.Generator().manual_seed(0), near=0.5, far=8.0)
    assert len(points) == len(colors) > 200
    assert (points.norm(dim=-1) < 1.0).float().mean() > 0.9
    assert (colors[:, 0] > colors[:, 1] + 0.1).float().mean() > 0.9  # red
    shuffled = replace(capture, pictures=capture.pictures.flip(0))
    wrong = swept_points(shuffled, 400, torch.Generator().manual_seed(0), near=0.5, far=8.0)[0]
    spread = [p.norm(dim=-1).quantile(0.9) for p in (points, wrong)]
    assert spread[0] < spread[1]
