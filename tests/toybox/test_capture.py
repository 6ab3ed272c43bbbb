"""A capture's pictures and poses fit each other, read as a NeRF program reads them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from distill3d.core.errors import UserError
from distill3d.files.captures.writing import straight
from distill3d.toybox.capture import write_capture
from distill3d.toybox.geometry import surface_samples
from distill3d.toybox.world import toy_from_prompt

PROMPT = "a green chair"


def read(path):
    return json.loads(path.read_text())


def project(points, layout, frame):
    """Pixel positions of world points, by the layout's own definition: OpenGL axes, y down in the picture."""
    to_camera = np.linalg.inv(np.array(frame["transform_matrix"]))
    local = points @ to_camera[:3, :3].T + to_camera[:3, 3]
    u = layout["cx"] + layout["fl_x"] * local[:, 0] / -local[:, 2]
    v = layout["cy"] - layout["fl_y"] * local[:, 1] / -local[:, 2]
    return u, v


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    path = write_capture(PROMPT, tmp_path_factory.mktemp("capture"), views=8, size=48, seed=2, held_out=2)
    layout = read(path)
    pictures = [np.asarray(Image.open(path.parent / frame["file_path"])) for frame in layout["frames"]]
    return path.parent, layout, pictures


def test_the_layout_names_what_programs_ask_for(capture):
    _, layout, pictures = capture
    assert len(layout["frames"]) == 8
    assert {"fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x"} <= set(layout)
    assert layout["fl_x"] == pytest.approx(0.5 * layout["w"] / np.tan(0.5 * layout["camera_angle_x"]))
    assert all(p.shape == (48, 48, 4) and p.dtype == np.uint8 for p in pictures)
    poses = np.array([frame["transform_matrix"] for frame in layout["frames"]])
    rotation = poses[:, :3, :3]
    np.testing.assert_allclose(rotation @ rotation.transpose(0, 2, 1), np.tile(np.eye(3), (8, 1, 1)), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-5)
    away = poses[:, :3, 3] / np.linalg.norm(poses[:, :3, 3], axis=1, keepdims=True)
    np.testing.assert_allclose(rotation[:, :, 2], away, atol=1e-5)  # it looks along -z at the origin
    assert np.ptp(poses[:, 2, 3]) > 2  # from below to above


def test_surface_points_fall_on_the_mask_with_their_own_pose_and_not_with_another(capture):
    _, layout, pictures = capture
    toy = toy_from_prompt(PROMPT, np.random.default_rng(2))
    points = surface_samples(toy, 2000, np.random.default_rng(0))[0]

    def on_mask(picture, frame):
        u, v = project(points, layout, frame)
        inside = picture[np.clip(v.astype(int), 0, 47), np.clip(u.astype(int), 0, 47), 3] > 0
        return inside.mean()

    frames = layout["frames"]
    # Thin legs cover less than the samples of a pixel, so a few points miss.
    assert min(on_mask(p, f) for p, f in zip(pictures, frames, strict=True)) > 0.96
    flipped = [np.flipud(p) for p in pictures]
    assert min(on_mask(p, f) for p, f in zip(flipped, frames, strict=True)) < 0.9
    assert min(on_mask(p, f) for p, f in zip(pictures, frames[1:] + frames[:1], strict=True)) < 0.9


def test_alpha_is_straight(capture):
    """A plain green chair's border pixels are as green as its inside, however little they cover."""
    premultiplied = np.array([[[0.1, 0.2, 0.05, 0.5], [0.0, 0.0, 0.0, 0.0], [0.3, 0.2, 0.1, 1.0]]], np.float32)
    expected = [[[0.2, 0.4, 0.1, 0.5], [0, 0, 0, 0], [0.3, 0.2, 0.1, 1.0]]]
    np.testing.assert_allclose(straight(premultiplied), expected, atol=1e-6)
    for picture in capture[2]:
        colors = picture.astype(float)
        border = (picture[..., 3] > 20) & (picture[..., 3] < 130)
        inside = picture[..., 3] == 255
        assert border.any()
        assert np.median(colors[border][:, 1]) > 0.6 * np.median(colors[inside][:, 1])


def test_held_out_views_are_shared_out(capture):
    folder, layout, _ = capture
    train, test = (read(folder / f"transforms_{name}.json")["frames"] for name in ("train", "test"))
    assert len(train) == 6
    assert len(test) == 2
    names = [f["file_path"] for f in train + test]
    assert sorted(names) == sorted(f["file_path"] for f in layout["frames"])


def test_same_seed_same_bytes(tmp_path):
    a, b, c = (write_capture(PROMPT, tmp_path / n, views=2, size=16, seed=s) for n, s in (("a", 0), ("b", 0), ("c", 1)))
    assert a.read_bytes() == b.read_bytes()
    pictures = [(path.parent / "images" / "000.png").read_bytes() for path in (a, b, c)]
    assert pictures[0] == pictures[1] != pictures[2]
    assert not (tmp_path / "a" / "transforms_train.json").exists()


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        ("a chiar", {}),
        (PROMPT, {"views": 0}),
        (PROMPT, {"size": 0}),
        (PROMPT, {"views": 4, "held_out": 4}),
    ],
)
def test_what_makes_no_capture_is_said_before_anything_is_written(tmp_path, prompt, options):
    with pytest.raises(UserError):
        write_capture(prompt, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
