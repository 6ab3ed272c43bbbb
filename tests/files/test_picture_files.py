import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from distill3d.core.errors import UserError
from distill3d.files.pictures import png, to_bytes, write_png
from distill3d.files.video import write_mp4


def frames(count=12, height=48, width=64):
    """A bright bar that walks to the right over grey."""
    film = np.full((count, height, width, 3), 0.3, np.float32)
    for k in range(count):
        film[k, :, k * width // count : (k + 1) * width // count] = (0.9, 0.5, 0.2)
    return film


def decoded(path, height, width):
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-i",
        str(path),
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    ]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3) / 255


def test_png_round_trip(tmp_path):
    picture = np.random.default_rng(0).random((7, 9, 3)).astype(np.float32)
    write_png(picture, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert np.abs(np.asarray(image) / 255 - picture).max() <= 0.5 / 255 + 1e-6
    assert png(picture) == png(to_bytes(picture))
    assert to_bytes(np.array([-1.0, 0.5, 2.0])).tolist() == [0, 128, 255]


def test_film_plays_back_in_order_with_its_colours(tmp_path):
    film = frames()
    write_mp4(iter(film), tmp_path / "a.mp4")
    played = decoded(tmp_path / "a.mp4", 48, 64)
    assert played.shape == film.shape
    assert np.abs(played - film).mean() < 0.03
    assert np.abs(played[::-1] - film).mean() > 0.05  # negative control
    information = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(tmp_path / "a.mp4")], capture_output=True, text=True
    ).stderr
    assert "h264" in information
    assert "yuv420p" in information  # what browsers play


def test_odd_sizes_are_made_even(tmp_path):
    write_mp4(frames(4, 31, 45), tmp_path / "a.mp4")
    assert decoded(tmp_path / "a.mp4", 32, 46).shape[0] == 4


def test_film_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="at least one frame"):
        write_mp4([], tmp_path / "a.mp4")

    def broken():
        yield frames()[0]
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left"):
        write_mp4(broken(), tmp_path / "a.mp4")
    with pytest.raises(ValueError, match="shape"):
        write_mp4([frames()[0], frames()[0, :10]], tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []
