"""`distill3d image edit`, `inpaint`, `invert` and `control` on the shipped prior: what changes, and what must not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from distill3d import cli
from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.files.picture_reading import read_picture
from distill3d.files.pictures import write_png
from distill3d.run.image import Asked
from distill3d.run.image_control import control
from distill3d.run.image_edit import edit, inpaint
from distill3d.run.image_files import fitted, over, straight, with_coverage
from distill3d.run.image_invert import invert
from distill3d.toybox.pictures import pack, picture
from distill3d.toybox.world import sample_toy

ASKED = Asked("a red mushroom", view_name="front", steps=10, cfg_scale=2.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A blue mushroom from the front, with straight alpha; and a mask, white in its upper half."""
    path = tmp_path_factory.mktemp("pictures")
    camera = Cameras.orbit(torch.zeros(1), 0.26)
    toy = sample_toy(np.random.default_rng(3), split="all", category="mushroom", color="blue", material="plain")
    pose, lens = camera.camera_to_world.double().numpy()[0], camera.intrinsics.double().numpy()[0]
    made = picture(pack(toy), pose, lens, 64, 1.0, 2)  # premultiplied
    made[..., :3] /= np.maximum(made[..., 3:], 1e-6)
    write_png(made, path / "toy.png")
    mask = np.zeros((64, 64), np.uint8)
    mask[:32] = 255
    Image.fromarray(mask).save(path / "mask.png")
    return path


def difference(one, other):
    """Mean over pixels that both cover, 0..255."""
    seen = (one[..., 3] > 200) & (other[..., 3] > 200)
    return float(np.abs(one[..., :3].astype(float) - other[..., :3])[seen].mean())


def test_strength_is_how_far_an_edit_goes(folder, tmp_path):
    before = read_picture(folder / "toy.png")
    weak = read_picture(edit(folder / "toy.png", ASKED, tmp_path / "a.png", strength=0.1))
    strong = read_picture(edit(folder / "toy.png", ASKED, tmp_path / "b.png", strength=0.9))
    kept = read_picture(edit(folder / "toy.png", ASKED, tmp_path / "c.png", strength=0.0))
    assert difference(before, weak) < 0.5 * difference(before, strong)
    for made, first, second in ((weak, 2, 0), (strong, 0, 2)):  # still blue, and red
        cap = made[:32][made[:32, :, 3] > 200].astype(float).mean(0)
        assert cap[first] > cap[second] + 20
    assert np.abs(kept.astype(int) - before)[before[..., 3] > 0].max() <= 1


def test_what_the_mask_leaves_black_comes_back_to_the_bit(folder, tmp_path):
    before, few = read_picture(folder / "toy.png"), replace(ASKED, steps=4)
    masked = read_picture(edit(folder / "toy.png", few, tmp_path / "a.png", strength=0.9, mask=folder / "mask.png"))
    filled = read_picture(inpaint(folder / "toy.png", few, tmp_path / "b.png", mask=folder / "mask.png", repeats=1))
    for made in (masked, filled):
        assert np.array_equal(made[32:], before[32:])
        assert np.abs(made[:32].astype(int) - before[:32]).mean() > 5
    everywhere = read_picture(edit(folder / "toy.png", few, tmp_path / "c.png", strength=0.9))
    assert not np.array_equal(everywhere[32:], before[32:])


def test_a_picture_comes_back_from_its_noise(folder, tmp_path):
    asked = Asked("a blue mushroom", view_name="front", steps=10, cfg_scale=1.0)
    noise = tmp_path / "n.safetensors"
    made = invert(folder / "toy.png", asked, tmp_path / "a.png", to="a red mushroom", noise=noise)
    assert made.psnr > 25
    assert load_file(noise)["noise"].shape == (1, 64, 16, 16)
    sheet = read_picture(made.path)
    assert sheet.shape == (64, 192, 4)
    alone = invert(folder / "toy.png", replace(asked, steps=2), tmp_path / "b.png", iterations=1)
    assert read_picture(alone.path).shape == (64, 128, 4)
    assert alone.psnr < made.psnr  # the figure can be worse
    assert difference(sheet[:, :64], sheet[:, 64:128]) < 20 < difference(sheet[:, :64], sheet[:, 128:])


def test_a_picture_without_alpha_gets_the_coverage_of_what_differs(folder):
    toy = read_picture(folder / "toy.png")
    flat = (255 * over(toy / 255, 1.0)[..., :3]).round().astype(np.uint8)
    found, how = with_coverage(flat)
    assert "plain background" in how
    assert np.abs(found[..., 3].astype(float) - toy[..., 3]).mean() < 16
    noisy = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    assert with_coverage(noisy)[0][..., 3].min() == 255


def test_over_and_straight_undo_each_other(folder):
    toy = read_picture(folder / "toy.png")
    back = straight(torch.from_numpy(over(toy / 255, 0.5))[None], 0.5)[0]
    assert np.abs(back.astype(int) - toy)[toy[..., 3] > 8].max() <= 1


def test_fitting_keeps_the_whole_picture():
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, :15] = 200
    square = fitted(wide, 60)
    assert square.shape == (60, 60, 3)
    assert square[30, 5, 0] > 190
    assert square[30, 55, 0] < 10


@pytest.mark.parametrize(
    ("verb", "options", "words"),
    [
        (edit, {"strength": 1.5}, "--strength is 0 to 1"),
        (edit, {"repeats": 0}, "--repeats is 1 to"),
        (edit, {"mask": "small.png"}, "the mask has 20 x 30 pixels, the picture 64 x 64"),
        (edit, {"mask": "black.png"}, "black everywhere"),
        (inpaint, {"mask": "none.png"}, "there is no such file"),
        (inpaint, {"mask": "mask.png", "jump": 0}, "--jump is 1 to"),
        (invert, {"iterations": 0}, "--iterations is 1 to"),
        (invert, {"to": " "}, "prompt of --to is empty"),
        (invert, {"noise": "n.npz"}, "ends in .safetensors"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(folder, tmp_path, monkeypatch, verb, options, words):
    monkeypatch.chdir(folder)
    Image.fromarray(np.full((30, 20), 255, np.uint8)).save("small.png")
    Image.fromarray(np.zeros((64, 64), np.uint8)).save("black.png")
    with pytest.raises(UserError, match=words) as error:
        verb("toy.png", ASKED, tmp_path / "a.png", **options)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_pictures_that_are_none(folder, tmp_path):
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "cut.png").write_bytes((folder / "toy.png").read_bytes()[:200])
    for name, words in (("text.png", "no PNG, JPEG"), ("cut.png", "damaged"), ("gone.png", "there is no such file")):
        with pytest.raises(UserError, match=words):
            edit(tmp_path / name, ASKED, tmp_path / "a.png")


def test_a_controlnet_that_is_none(folder, tmp_path):
    with pytest.raises(UserError, match="name a ControlNet"):
        control(folder / "toy.png", ASKED, tmp_path / "a.png")
    asked = Asked("a cat", control=[{"model": str(tmp_path / "nowhere")}])
    with pytest.raises(UserError, match="nowhere"):
        control(folder / "toy.png", asked, tmp_path / "a.png")


def test_the_command(folder, tmp_path, capsys):
    out = tmp_path / "a.png"
    assert cli.main(["image", "a red mushroom", "--steps", "1", "--out", str(out), "--quiet"]) == 0
    words = ["image", "edit", str(folder / "toy.png"), "a red mushroom", "--steps", "4", "--out", str(out), "--quiet"]
    assert cli.main(words) == 0
    assert capsys.readouterr().out.split() == [str(out)] * 2
    assert cli.main([*words, "--strength", "2"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert cli.main(["image", "edit"]) == 2
