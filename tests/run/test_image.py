import math

import numpy as np
import pytest

from distill3d.core.errors import UserError
from distill3d.files.picture_reading import read_picture
from distill3d.run.image import Asked, generate, view
from distill3d.run.image_files import side_by_side
from distill3d.run.progress import Progress


def test_views_by_name_and_by_degrees():
    assert view("front", 2).azimuth.tolist() == pytest.approx([0, 0])
    assert view("left", 1).position[0, 1] > 2  # the object looks along +x, its left is +y
    assert view("back", 1).azimuth.abs().item() == pytest.approx(math.pi, abs=1e-5)
    cameras = view("-30, 20", 1)
    assert cameras.azimuth.item() == pytest.approx(math.radians(-30), abs=1e-5)
    assert cameras.elevation.item() == pytest.approx(math.radians(20), abs=1e-5)
    for wrong in ("frnt", "30", "30,95", "a,b", ""):
        with pytest.raises(UserError, match=r"unknown view"):
            view(wrong, 1)


def test_a_grid_puts_pictures_in_rows():
    pictures = np.broadcast_to(np.arange(5).reshape(5, 1, 1, 1), (5, 2, 3, 4)) + 1
    sheet = side_by_side(pictures)
    assert sheet.shape == (4, 12, 4)
    assert sheet[0, ::3, 0].tolist() == [1, 2, 3, 4]
    assert sheet[2, ::3, 0].tolist() == [5, 0, 0, 0]
    assert side_by_side(pictures[:1]).shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"out": "a.jpg"}, "ends in .png"),
        ({"prompt": " "}, "prompt is empty"),
        ({"count": 0}, "--n is 1 to"),
        ({"steps": 1001}, "--steps is 1 to"),
        ({"cfg_scale": -1.0}, "--cfg is 0 to"),
        ({"view_name": "frnt"}, "did you mean 'front'"),
        ({"sampler": "ddin"}, "did you mean 'ddim'"),
        ({"model": "/nowhere"}, "nowhere"),
        ({"sampler": "ddpm-learned"}, "'toybox' says no variance"),
        ({"classifier_scale": -1.0}, "--classifier-scale is 0 to"),
        (
            {"prompt": "a quokka", "classifier_scale": 1.0},
            "classifier knows single toys in the toybox's words, and not",
        ),
    ],
)
def test_bad_input_writes_nothing(tmp_path, monkeypatch, change, words):
    monkeypatch.chdir(tmp_path)
    values = {"prompt": "a cat", "out": "a.png", "sampler": "ddim", "classifier_scale": 0.0, **change}
    out, sampler, scale = values.pop("out"), values.pop("sampler"), values.pop("classifier_scale")
    with pytest.raises(UserError, match=words):
        generate(Asked(**values), out, sampler, classifier_scale=scale)
    assert list(tmp_path.iterdir()) == []


class Heard(Progress):
    """Keeps what is said."""

    def __init__(self):
        super().__init__(quiet=True)
        self.lines = []

    def __call__(self, message):
        self.lines.append(message)


def test_pictures_of_a_grid_are_those_of_their_seeds(tmp_path):
    both = generate(Asked("a red mushroom", count=2, steps=2, seed=5), tmp_path / "both.png")
    alone = generate(Asked("a red mushroom", steps=2, seed=6), tmp_path / "alone.png")
    sheet, second = read_picture(both), read_picture(alone)
    assert sheet.shape == (64, 128, 4)
    assert np.array_equal(sheet[:, 64:], second)
    assert not np.array_equal(sheet[:, :64], second)


def test_words_that_will_not_be_heard_are_said_and_it_goes_on(tmp_path):
    progress = Heard()
    made = generate(Asked("a zebra " + "and a very " * 300, steps=1), tmp_path / "a.png", progress=progress)
    assert made.is_file()
    assert any("never met" in line and "zebra" in line for line in progress.lines)
    assert all(len(line) < 200 for line in progress.lines)
    known = Heard()
    generate(Asked("a red mushroom", steps=1), tmp_path / "b.png", progress=known)
    assert not any("never met" in line for line in known.lines)
