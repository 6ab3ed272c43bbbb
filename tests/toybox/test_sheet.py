"""The contact sheet shows every category, and the same one for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from distill3d.core.errors import UserError
from distill3d.toybox.categories import CATEGORIES
from distill3d.toybox.sheet import CAPTION, PAPER, RELATIONS, contact_sheet, grid


def test_every_category_is_on_the_sheet(tmp_path):
    path = contact_sheet(tmp_path / "new" / "sheet.png", seed=1, columns=9, size=32)
    sheet = np.asarray(Image.open(path).convert("RGB"))
    count = len(CATEGORIES) + RELATIONS
    rows = -(-count // 9)
    assert sheet.shape == (rows * (32 + CAPTION), 9 * 32, 3)
    paper = round(255 * PAPER)
    cells = [sheet[(i // 9) * (32 + CAPTION) :, (i % 9) * 32 :][:32, :32] for i in range(9 * rows)]
    shown = [np.any(np.abs(cell.astype(int) - paper) > 12, -1).mean() for cell in cells]
    assert min(shown[:count]) > 0.015
    assert max(shown[count:], default=0) == 0


def test_same_seed_same_bytes(tmp_path):
    one, two, other = (contact_sheet(tmp_path / f"{i}.png", seed, size=16) for i, seed in enumerate((4, 4, 5)))
    assert one.read_bytes() == two.read_bytes() != other.read_bytes()


def test_pictures_lie_where_they_belong_and_alpha_lets_the_paper_through():
    red, clear = np.zeros((8, 8, 4)), np.zeros((8, 8, 4))
    red[:] = (1, 0, 0, 1)
    sheet = np.asarray(grid([red, clear, red], ["", "", ""], columns=2))
    assert sheet.shape == (16, 16, 3)
    assert (sheet[:8, :8] == (255, 0, 0)).all()
    assert (sheet[8:, :8] == (255, 0, 0)).all()
    assert (sheet[:, 8:] == round(255 * PAPER)).all()


def test_a_file_that_cannot_be_written_is_said_in_one_line(tmp_path):
    with pytest.raises(UserError, match="png"):
        contact_sheet(tmp_path / "sheet.gif")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        contact_sheet(tmp_path / "file" / "sheet.png", size=16)
