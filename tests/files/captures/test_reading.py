"""Captures in every layout give the cameras, pictures and split that were written."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from distill3d.files.captures import read_capture
from distill3d.files.captures.undistort import undistorted
from distill3d.toybox.capture import write_capture
from distill3d.toybox.geometry import surface_samples
from distill3d.toybox.world import toy_from_prompt
from tests.files.captures.scenes import COLORS, FOCAL, HEIGHT, POINTS, WIDTH, poses, write_colmap, write_transforms


def file_poses(capture) -> np.ndarray:
    """The cameras as the file has them: the normalisation undone."""
    found = capture.cameras.camera_to_world.double().numpy()
    normal = capture.normalization
    result = found.copy()
    result[:, :3, :3] = normal.rotation.T @ found[:, :3, :3]
    result[:, :3, 3] = normal.undo(found[:, :3, 3])
    return result


def test_transforms(tmp_path) -> None:
    write_transforms(tmp_path)
    capture = read_capture(tmp_path)
    np.testing.assert_allclose(file_poses(capture), poses(), atol=1e-5)
    assert capture.pictures.shape == (5, HEIGHT, WIDTH, 3)
    assert capture.pictures[3, 10, 7].tolist() == [35, 50, 60]
    k = capture.cameras.intrinsics[0]
    assert k.tolist() == [[FOCAL, 0, 11.5], [0, FOCAL + 1, 16.5], [0, 0, 1]]
    assert capture.held_out.tolist() == [True, False, False, False, False]
    assert capture.cameras.lens is None
    assert capture.notices == ()


def test_the_subject_is_in_the_middle_and_the_farthest_camera_at_the_radius(tmp_path) -> None:
    write_transforms(tmp_path)
    capture = read_capture(tmp_path, radius=1.5)
    np.testing.assert_allclose(capture.normalization.center, [1, 2, 0.5], atol=1e-9)
    assert capture.cameras.distance.max() == pytest.approx(1.5, rel=1e-6)
    matrix = capture.normalization.matrix
    again = type(capture.normalization).from_matrix(matrix)
    np.testing.assert_allclose(again.undo(capture.normalization.points(POINTS)), POINTS, atol=1e-12)


@pytest.mark.parametrize("binary", [True, False])
def test_colmap(tmp_path, binary: bool) -> None:
    write_colmap(tmp_path, binary)
    capture = read_capture(tmp_path)
    np.testing.assert_allclose(file_poses(capture), poses(), atol=1e-5)
    assert capture.names == tuple(f"view {k}.png" for k in range(5))
    np.testing.assert_allclose(capture.normalization.undo(capture.points.double().numpy()), POINTS, atol=1e-5)
    np.testing.assert_allclose(capture.colors.numpy() * 255, COLORS, atol=1e-4)
    assert capture.cameras.lens.coefficients[0].tolist() == [0.05, -0.02, 0.001, -0.002, 0, 0, 0, 0]
    up = capture.cameras.camera_to_world[:, :3, 1].mean(0)
    assert up[2] / up.norm() > 0.999  # the model's world has no up of its own: the cameras' is taken


def test_colmap_text_and_binary_agree(tmp_path) -> None:
    captures = []
    for binary in (True, False):
        write_colmap(tmp_path / str(binary), binary)
        captures.append(read_capture(tmp_path / str(binary)))
    torch.testing.assert_close(captures[0].cameras.camera_to_world, captures[1].cameras.camera_to_world)


def test_synthetic_layout_has_its_own_split(tmp_path) -> None:
    frames = json.loads(write_transforms(tmp_path).read_text())["frames"]
    for frame in frames:
        frame["file_path"] = "./" + frame["file_path"].removesuffix(".png")
    for name, part in (("train", frames[:3]), ("test", frames[3:])):
        content = {"camera_angle_x": 0.8, "frames": part}
        (tmp_path / f"transforms_{name}.json").write_text(json.dumps(content))
    capture = read_capture(tmp_path)
    assert capture.held_out.tolist() == [False, False, False, True, True]
    focal = 0.5 * WIDTH / np.tan(0.4)
    assert capture.cameras.intrinsics[0, 0].tolist() == pytest.approx([focal, 0, WIDTH / 2])


def test_nerfstudio_split(tmp_path) -> None:
    names = [f"images/{k:03d}.png" for k in range(5)]
    write_transforms(tmp_path, train_filenames=[names[0], names[2]], val_filenames=[names[1], names[3], names[4]])
    assert read_capture(tmp_path).held_out.tolist() == [False, True, False, True, True]


def test_alpha_is_a_mask_and_centres_what_it_shows(tmp_path) -> None:
    write_transforms(tmp_path, channels=4, cx=WIDTH / 2, cy=HEIGHT / 2)
    capture = read_capture(tmp_path)
    assert capture.has_alpha
    assert 0.2 < (capture.pictures[..., 3] > 0).float().mean() < 0.3
    subject = capture.normalization.points(np.array([[1, 2, 0.5]]))[0]
    assert np.abs(subject).max() < 0.1
    # the discs show a ball of radius 4 * 8 / 30; the box around its hull, corners and all, is nine tenths of the unit
    assert 0.35 < capture.normalization.scale * 4 * 8 / FOCAL < 0.9


def test_thin_parts_stay_inside_the_unit_ball(tmp_path) -> None:
    """A chair's legs are thinner than a cell of the grid that is carved; its true surface tells whether they are in."""
    write_capture("a wooden chair", tmp_path, views=12, size=64)
    truth = surface_samples(toy_from_prompt("a wooden chair", np.random.default_rng(0)), 4000, np.random.default_rng(0))
    radius = np.linalg.norm(read_capture(tmp_path).normalization.points(truth[0]), axis=1)
    assert radius.max() < 1
    assert radius.max() > 0.6  # and it is not lost in it


def test_masks_of_pixels_that_do_not_count(tmp_path) -> None:
    path = write_transforms(tmp_path)
    content = json.loads(path.read_text())
    white = np.full((HEIGHT, WIDTH), 255, np.uint8)
    white[:, :6] = 0
    Image.fromarray(white).save(tmp_path / "mask.png")
    content["frames"][2]["mask_path"] = "mask.png"
    path.write_text(json.dumps(content))
    masks = read_capture(tmp_path).masks
    assert masks[2, :, 6:].all()
    assert not masks[2, :, :6].any()
    assert masks[[0, 1, 3, 4]].all()


def test_smaller_pictures_keep_their_rays(tmp_path) -> None:
    write_transforms(tmp_path, k1=0.05, p1=0.01)
    whole, half = (read_capture(tmp_path, downscale) for downscale in (1, 2))
    assert half.pictures.shape == (5, HEIGHT // 2, WIDTH // 2, 3)
    means = whole.pictures[3].double().view(HEIGHT // 2, 2, WIDTH // 2, 2, 3).mean((1, 3))
    assert (half.pictures[3] - means).abs().max() <= 1
    corner = whole.cameras.rays_at(torch.tensor([3]), torch.tensor([[9.0, 5.0]]))[1]  # between four pixels
    torch.testing.assert_close(half.cameras.rays()[1][3, 2, 4], corner[0], atol=1e-6, rtol=0)


def test_undistorted_pictures_show_the_same_rays(tmp_path) -> None:
    """The colour of a pixel tells its place, so the lens must have moved it to where the ray comes from."""
    write_transforms(tmp_path, k1=-0.2, k2=0.03, p2=0.01)
    capture = read_capture(tmp_path)
    flat = undistorted(capture)
    assert flat.cameras.lens is None
    rays = flat.cameras.rays()[1]
    place = torch.tensor([28, 3])  # row, column
    ray = capture.cameras.camera_to_world[1, :3, :3].T @ rays[1, 28, 3]
    at = capture.cameras.lens[torch.tensor([1])].distort((ray * torch.tensor([1, -1, -1]))[None, None])[0, 0]
    k = capture.cameras.intrinsics[1].double()
    column, row = (at[0] * k[0, 0] + k[0, 2] - 0.5), (at[1] * k[1, 1] + k[1, 2] - 0.5)
    expected = torch.stack([column * 5, row * 5])
    assert (flat.pictures[1, 28, 3, :2].double() - expected).abs().max() < 1.1
    assert (expected - torch.stack([place[1], place[0]]) * 5).abs().max() > 2  # it did move
    assert undistorted(flat) is flat
