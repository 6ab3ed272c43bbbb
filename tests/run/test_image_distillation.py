"""`distill3d image edit --method dds, pds, sds`: colour follows the sentence, and the shape stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from distill3d import cli
from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.files.picture_reading import read_picture
from distill3d.files.pictures import write_png
from distill3d.run.image import Asked
from distill3d.run.image_distillation import edit
from distill3d.run.image_files import over
from distill3d.toybox.judge import Judge
from distill3d.toybox.pictures import pack, picture
from distill3d.toybox.world import sample_toy
from tests.diffusion.folders import stable_diffusion_folder

ASKED = Asked("a blue mushroom", view_name="front", steps=30)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A red mushroom from the front, with straight alpha."""
    camera = Cameras.orbit(torch.zeros(1), 0.26)
    made = sample_toy(np.random.default_rng(3), split="all", category="mushroom", color="red", material="plain")
    pose, lens = camera.camera_to_world.double().numpy()[0], camera.intrinsics.double().numpy()[0]
    pixels = picture(pack(made), pose, lens, 64, 1.0, 2)  # premultiplied
    pixels[..., :3] /= np.maximum(pixels[..., 3:], 1e-6)
    path = tmp_path_factory.mktemp("toy") / "toy.png"
    write_png(pixels, path)
    return path


def told(path):
    """Category and colour in the judge's eyes."""
    verdict = Judge.load().judge(torch.from_numpy(over(read_picture(path) / 255, 0.5))[None])
    return verdict.category_names[0], verdict.color_names[0]


def overlap(one, other):
    a, b = (read_picture(path)[..., 3] / 255 for path in (one, other))
    return np.minimum(a, b).sum() / np.maximum(a, b).sum()


def test_the_color_changes_and_the_shape_stays_better_than_by_sds(toy, tmp_path):
    assert told(toy) == ("mushroom", "red")
    dds = edit(toy, "a red mushroom", ASKED, tmp_path / "dds.png", sheet=tmp_path / "sheet.png")
    assert told(dds) == ("mushroom", "blue")
    sds = edit(toy, "a red mushroom", ASKED, tmp_path / "sds.png", method="sds")
    assert overlap(toy, dds) > 0.9
    assert overlap(toy, dds) > overlap(toy, sds) + 0.01
    sheet = read_picture(tmp_path / "sheet.png")
    assert np.array_equal(sheet[:, :64], read_picture(toy))
    assert np.array_equal(sheet[:, 64:], read_picture(dds))


def test_two_equal_sentences_keep_the_picture_and_say_so(toy, tmp_path, capsys):
    words = ["image", "edit", str(toy), "a red mushroom", "--from", "a red mushroom", "--method", "pds", "--steps", "2"]
    assert cli.main([*words, "--out", str(tmp_path / "a.png")]) == 0
    assert np.array_equal(read_picture(tmp_path / "a.png"), read_picture(toy))
    assert "both sentences are the same" in capsys.readouterr().err
    words[3] = "a blue mushroom"
    assert cli.main([*words, "--out", str(tmp_path / "b.png")]) == 0
    assert not np.array_equal(read_picture(tmp_path / "b.png"), read_picture(toy))
    assert "both sentences" not in capsys.readouterr().err


def test_a_prior_of_latents(toy, tmp_path):
    folder = stable_diffusion_folder(tmp_path / "sd")
    asked = Asked("a blue mushroom", steps=2, count=2, model=str(folder))
    for method in ("dds", "pds"):
        made = read_picture(edit(toy, "a red mushroom", asked, tmp_path / "a.png", method=method))
        assert made.shape == (16, 32, 3)  # two pictures of its size, on white
        assert not np.array_equal(made[:, :16], made[:, 16:])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "dsd", "--from", "a red mushroom"], "did you mean"),
        (["--method", "dds"], "--from"),
        (["--from", "a red mushroom"], "sdedit hears one sentence"),
        (["--method", "dds", "--from", " "], "the prompt of --from is empty"),
        (["--method", "pds", "--from", "a cat", "--strength", "0"], "--strength is above 0"),
        (["--method", "pds", "--from", "a cat", "--sheet", "toy.jpg"], "ends in .png"),
        (["--method", "pds", "--from", "a cat", "--steps", "0"], "--steps is 1 to"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(toy, tmp_path, capsys, options, words):
    assert cli.main(["image", "edit", str(toy), "a blue mushroom", "--out", str(tmp_path / "a.png"), *options]) == 2
    told = capsys.readouterr().err.strip()
    assert words in told
    assert "\n" not in told
    assert list(tmp_path.iterdir()) == []


def test_from_python_a_wrong_method_is_refused(toy, tmp_path):
    with pytest.raises(UserError, match="unknown method"):
        edit(toy, "a red mushroom", ASKED, tmp_path / "a.png", method="vsd")
