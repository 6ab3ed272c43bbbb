"""Objects cut out of pictures of every mode, and put in the middle."""

import numpy as np
import pytest
from PIL import Image

from distill3d.core.errors import UserError
from distill3d.files.cutout import cut_out, recentred
from distill3d.files.picture_reading import read_picture


def disc(background, height=60, width=90):
    """An orange disc of radius 15 around (20, 60), with a hole of the background's colour in the middle."""
    v, u = np.mgrid[:height, :width]
    distance = np.hypot(v - 20, u - 60)
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = background
    picture[distance < 15] = (240, 130, 30)
    picture[distance < 4] = background
    return picture, distance


def test_a_plain_background_goes_and_a_spot_of_its_colour_inside_stays():
    picture, distance = disc((250, 250, 250))
    alpha = cut_out(picture, "it")[..., 3]
    assert (alpha[distance < 15] == 255).all()
    assert (alpha[distance > 15] == 0).all()


def test_specks_on_the_background_go_and_large_parts_stay():
    picture, distance = disc((250, 250, 250))
    picture[50, 10] = 0
    picture[40:50, 20:30] = 0
    alpha = cut_out(picture, "it")[..., 3]
    assert alpha[50, 10] == 0
    assert (alpha > 0).sum() == (distance < 15).sum() + 100


def test_alpha_wins_over_the_colours():
    picture, distance = disc((250, 250, 250))
    alpha = np.where(distance < 8, 255, 0).astype(np.uint8)
    assert (cut_out(np.dstack([picture, alpha]), "it")[..., 3] == alpha).all()


def test_opaque_alpha_says_nothing():
    picture, distance = disc((0, 0, 0))
    opaque = np.dstack([picture, np.full(distance.shape, 255, np.uint8)])
    assert (cut_out(opaque, "it")[..., 3] > 0).sum() == (distance < 15).sum()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "I;16", "JPEG"])
def test_files_of_every_mode_come_out_alike(tmp_path, mode):
    picture, distance = disc((250, 250, 250))
    image, path = Image.fromarray(picture), tmp_path / ("a.jpg" if mode == "JPEG" else "a.png")
    if mode == "RGBA":
        image = Image.fromarray(np.dstack([picture, np.where(distance < 15, 255, 0).astype(np.uint8)]))
    elif mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif mode == "P":
        image = image.quantize(16)
    elif mode != "JPEG":
        image = image.convert(mode)
    image.save(path)
    mask = cut_out(read_picture(path), path)[..., 3] > 127
    wrong = np.abs(distance[mask != (distance < 15)] - 15)
    assert wrong.max(initial=0) < (3 if mode == "JPEG" else 0.01)  # a JPEG has one colour for four pixels: a soft rim


def test_a_photograph_lying_on_its_side_is_turned(tmp_path):
    picture, _ = disc((250, 250, 250))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    Image.fromarray(picture).save(tmp_path / "a.jpg", exif=exif, quality=95)
    rows, columns = np.nonzero(cut_out(read_picture(tmp_path / "a.jpg"), "it")[..., 3])
    assert abs(rows.mean() - 60) < 1
    assert abs(columns.mean() - 39) < 1


def test_the_object_is_put_in_the_middle_without_a_change_of_shape():
    square = recentred(cut_out(disc((250, 250, 250))[0], "it"), 64)
    rows, columns = np.nonzero(square[..., 3] > 0.5)
    assert abs(rows.mean() - 31.5) < 0.6
    assert abs(columns.mean() - 31.5) < 0.6
    assert abs((rows.max() - rows.min()) - (columns.max() - columns.min())) <= 1
    assert abs((rows.max() - rows.min() + 1) / 64 - 0.8) < 0.04
    assert (square[..., :3] <= square[..., 3:] + 1e-5).all()  # premultiplied


def test_what_cannot_be_cut_out_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr("distill3d.files.cutout.find_spec", lambda name: None)
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    with pytest.raises(UserError, match=r"photo\.png: the background is not of one colour.*rembg"):
        cut_out(noise, "photo.png")
    with pytest.raises(UserError, match=r"photo\.png: no object is seen"):
        cut_out(np.full((40, 40, 3), 200, np.uint8), "photo.png")
