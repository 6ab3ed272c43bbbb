import math

import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.run.image import grid, sample_to_file, view


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


def test_grid_puts_pictures_in_rows():
    pictures = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 2, 3, 4) / 5
    sheet = grid(pictures)
    assert sheet.shape == (4, 12, 4)
    assert sheet[0, ::3, 0].tolist() == pytest.approx([0, 0.2, 0.4, 0.6])
    assert sheet[2, ::3, 0].tolist() == pytest.approx([0.8, 0, 0, 0])
    assert grid(pictures[:1]).shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"out": "a.jpg"}, "ends in .png"),
        ({"prompt": " "}, "prompt is empty"),
        ({"count": 0}, "--n is 1 to"),
        ({"steps": 1001}, "--steps is 1 to"),
        ({"view_name": "frnt"}, "did you mean 'front'"),
        ({"model": "/nowhere"}, "nowhere"),
    ],
)
def test_bad_input_writes_nothing(tmp_path, monkeypatch, change, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=words):
        sample_to_file(**{"prompt": "a cat", "out": "a.png", **change})
    assert list(tmp_path.iterdir()) == []
