"""What is wrong with a capture is said in one line that names the file and the fault."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from PIL import Image

from distill3d.core.errors import UserError
from distill3d.files.captures import read_capture
from tests.files.captures.scenes import HEIGHT, WIDTH, picture, write_colmap, write_transforms


def refused(folder, *words: str) -> str:
    with pytest.raises(UserError) as caught:
        read_capture(folder)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message
    return message


def changed(folder, change) -> None:
    """A good transforms.json after `change(content)`."""
    path = write_transforms(folder)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_missing_pictures_are_named_in_one_notice(tmp_path) -> None:
    write_transforms(tmp_path, count=6)
    for k in (1, 4):
        (tmp_path / f"images/{k:03d}.png").unlink()
    capture = read_capture(tmp_path)
    assert len(capture.cameras) == 4
    (notice,) = capture.notices
    assert "001.png, 004.png" in notice
    assert "transforms.json" in notice


def test_fewer_than_three_pictures(tmp_path) -> None:
    write_transforms(tmp_path)
    for k in (0, 2, 3):
        (tmp_path / f"images/{k:03d}.png").unlink()
    refused(tmp_path, "transforms.json", "at least 3 pictures, has 2", "000.png")


def test_zero_frames(tmp_path) -> None:
    changed(tmp_path, lambda content: content["frames"].clear())
    refused(tmp_path, "transforms.json", "no frames")


def test_truncated_picture(tmp_path) -> None:
    write_transforms(tmp_path)
    path = tmp_path / "images/002.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    refused(tmp_path, "002.png", "damaged")
    path.write_bytes(b"not a picture")
    refused(tmp_path, "002.png", "cannot be read")


def test_truncated_jpeg(tmp_path) -> None:
    def as_jpeg(content):
        for k, frame in enumerate(content["frames"]):
            frame["file_path"] = f"images/{k:03d}.jpg"
            Image.fromarray(np.random.default_rng(k).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)).save(
                tmp_path / frame["file_path"]
            )

    changed(tmp_path, as_jpeg)
    assert len(read_capture(tmp_path).cameras) == 5
    path = tmp_path / "images/001.jpg"
    path.write_bytes(path.read_bytes()[:700])
    refused(tmp_path, "001.jpg", "damaged")


def set_matrix(entry: tuple[int, int], value: float):
    def change(content):
        content["frames"][1]["transform_matrix"][entry[0]][entry[1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_matrix((0, 3), float("nan")), ("frames[1]", "transform_matrix", "nan")),
        (set_matrix((1, 1), float("inf")), ("frames[1]", "inf")),
        (set_matrix((0, 0), 2.5), ("frames[1]", "not orthonormal")),
        (set_matrix((3, 0), 0.5), ("frames[1]", "0 0 0 1")),
        (set_matrix((0, 3), 1e300), ("frames[1]", "away from the origin")),
        (set_matrix((0, 0), "x"), ("frames[1]", "should be a number")),
        (lambda c: c["frames"][0].update(transform_matrix=[[1, 2], [3, 4]]), ("frames[0]", "4 x 4")),
        (lambda c: c["frames"][0].pop("transform_matrix"), ("frames[0]", "4 x 4")),
        (lambda c: c["frames"][0].pop("file_path"), ("frames[0].file_path",)),
        (lambda c: c["frames"].insert(2, 7), ("frames[2]", "object")),
        (lambda c: c["frames"][0].update(file_path="../../etc/passwd"), ("frames[0]", "leads out")),
        (lambda c: c.update(frames=3), ("frames should be a list",)),
        (lambda c: c.update(fl_x=0), ("fl_x",)),
        (lambda c: c.update(fl_x=None), ("fl_x", "None")),
        (lambda c: c.pop("fl_x"), ("fl_x", "camera_angle_x")),
        (lambda c: c.update(k1=float("nan")), ("k1", "nan")),
        (lambda c: c.update(w=10**400), ("w is out of range",)),
        (lambda c: c.update(k4=0.1), ("k4",)),
        (lambda c: c.update(camera_model="EQUIRECTANGULAR"), ("EQUIRECTANGULAR", "OPENCV")),
        (lambda c: c.update(w=WIDTH + 1), ("000.png", f"{WIDTH} x {HEIGHT}", f"{WIDTH + 1} x {HEIGHT}")),
        (lambda c: c.update(w=HEIGHT, h=WIDTH), ("000.png", "EXIF")),
        (lambda c: c["frames"][3].update(w=99), ("003.png", "99 x 32", "one size")),
    ],
)  # fmt: skip
def test_wrong_values_are_named(tmp_path, change, words) -> None:
    changed(tmp_path, change)
    refused(tmp_path, *words)


def test_a_mirrored_matrix_is_no_rotation(tmp_path) -> None:
    def mirror(content):
        for row in content["frames"][1]["transform_matrix"]:
            row[0] = -row[0]

    changed(tmp_path, mirror)
    refused(tmp_path, "frames[1]", "mirrors")


def test_one_picture_of_another_size(tmp_path) -> None:
    write_transforms(tmp_path)
    picture(3, size=(WIDTH, HEIGHT + 2)).save(tmp_path / "images/003.png")
    refused(tmp_path, "003.png", f"{WIDTH} x {HEIGHT + 2}", f"{WIDTH} x {HEIGHT}")


def test_no_json_and_no_capture(tmp_path) -> None:
    refused(tmp_path, "no capture", "transforms.json")
    refused(tmp_path / "nowhere", "no such folder")
    (tmp_path / "transforms.json").write_text('{"frames": [')
    refused(tmp_path, "transforms.json", "not JSON")
    (tmp_path / "transforms.json").write_text("[" * 100_000)
    refused(tmp_path, "transforms.json")
    (tmp_path / "transforms.json").write_bytes(b"\xff\xfe\x00")
    refused(tmp_path, "transforms.json", "not JSON")


def test_a_picture_bomb_is_not_opened(tmp_path) -> None:
    """A PNG of 60000 x 60000 pixels in 60 bytes: the header is believed before anything is unpacked."""
    write_transforms(tmp_path)
    good = (tmp_path / "images/001.png").read_bytes()
    (tmp_path / "images/001.png").write_bytes(good[:16] + struct.pack(">II", 60_000, 60_000) + good[24:])
    refused(tmp_path, "001.png")


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_colmap_counts_beyond_the_file(tmp_path, name) -> None:
    model = write_colmap(tmp_path, binary=True)
    data = bytearray((model / name).read_bytes())
    data[:8] = struct.pack("<Q", 10**15)
    (model / name).write_bytes(bytes(data))
    refused(tmp_path, name, "1000000000000000")


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_colmap_cut_short(tmp_path, name) -> None:
    model = write_colmap(tmp_path, binary=True)
    (model / name).write_bytes((model / name).read_bytes()[:-5])
    refused(tmp_path, name)


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("cameras.txt", "OPENCV", "FOV", ("FOV", "OPENCV")),
        ("cameras.txt", "OPENCV", "PINHOLE", ("PINHOLE", "needs 4 parameters")),
        ("cameras.txt", "30.0", "nan", ("camera 7", "not finite")),
        ("cameras.txt", "30.0", "0.0", ("camera 7", "focal length 0")),
        ("cameras.txt", " 24 ", " -24 ", ("line 2", "pixels")),
        ("images.txt", " 7 view 2", " 8 view 2", ("view 2", "no camera 8")),
        ("images.txt", "3 ", "x ", ("images.txt", "line 2", "10 fields")),
        ("images.txt", "view 1.png", "../../x.png", ("leads out",)),
        ("points3D.txt", "255 0 0", "256 0 0", ("points3D.txt", "colour")),
        ("points3D.txt", "1.2 ", "inf ", ("points3D", "not finite")),
    ],
)
def test_colmap_text_faults(tmp_path, name, old, new, words) -> None:
    path = write_colmap(tmp_path, binary=False) / name
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new, 1) if name != "images.txt" or old != "3 " else "\nx y z\n" + content)
    refused(tmp_path, *words)


def test_colmap_without_images(tmp_path) -> None:
    (write_colmap(tmp_path, binary=True) / "images.bin").unlink()
    refused(tmp_path, "images.bin", "cannot be read")
