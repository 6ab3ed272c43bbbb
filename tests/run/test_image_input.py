"""What people hand to `distill3d image`: pictures without alpha, files that must not be lost, prompts, ControlNets."""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from distill3d import cli
from distill3d.core.errors import UserError
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.files.picture_reading import read_picture
from distill3d.run.image import Asked, generate
from distill3d.run.image_control import control
from distill3d.run.image_edit import edit, inpaint
from distill3d.run.image_files import check_writable, open_picture
from distill3d.run.image_invert import invert
from distill3d.run.progress import Progress
from tests.diffusion import pipelines

ASKED = Asked("a red mushroom", view_name="front", steps=3)
BACKGROUND = (230, 240, 250)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A blue disc on a plain background, once without alpha and once opaque; a mask, white in its upper half."""
    monkeypatch.chdir(tmp_path)
    y, x = np.mgrid[:64, :64]
    disc = np.hypot(x - 32, y - 32) < 16
    plain = np.where(disc[..., None], (20, 40, 200), BACKGROUND).astype(np.uint8)
    plain[32:] ^= np.random.default_rng(0).integers(0, 2, (32, 64, 3)).astype(np.uint8)  # a camera's noise
    Image.fromarray(plain).save("plain.png")
    Image.fromarray(np.dstack([plain, np.full((64, 64), 255, np.uint8)])).save("opaque.png")
    clear = np.dstack([plain, 255 * disc.astype(np.uint8)])
    Image.fromarray(clear).save("clear.png")
    Image.fromarray(np.where(y < 32, 255, 0).astype(np.uint8)).save("mask.png")
    return tmp_path


@pytest.fixture(scope="module")
def prior():
    return DiffusionPrior(DiffusionPrior.Config())


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_without_alpha_too_what_the_mask_leaves_black_comes_back_to_the_bit(here):
    before = read_picture("plain.png")
    edited = read_picture(edit("plain.png", ASKED, "a.png", strength=0.7, mask="mask.png"))
    filled = read_picture(inpaint("plain.png", ASKED, "b.png", mask="mask.png", repeats=1))
    for made in (edited, filled):
        assert made.shape == (64, 64, 3)
        assert np.array_equal(made[32:], before[32:])
        assert not np.array_equal(made[:32], before[:32])


def test_without_alpha_a_picture_comes_back_without_on_its_own_background(here):
    free = read_picture(edit("plain.png", ASKED, "c.png", strength=0.7))
    assert free.shape == (64, 64, 3)
    assert not np.array_equal(free[32:], read_picture("plain.png")[32:])
    assert np.abs(free[:4].astype(int) - BACKGROUND).mean() < 12
    assert read_picture(edit("clear.png", ASKED, "d.png", strength=0.7)).shape == (64, 64, 4)


def test_what_is_opaque_all_over_counts_as_without_alpha(here, prior):
    said = []
    covered, opaque, clear = (open_picture(f"{name}.png", prior, said.append) for name in ("plain", "opaque", "clear"))
    assert len(said) == 2
    assert torch.equal(covered.images, opaque.images)
    assert (opaque.images - clear.images).abs().mean() < 0.01
    assert opaque.images[0, 0, 0].tolist() == pytest.approx([0.5, 0.5, 0.5, 0.0], abs=1e-6)


def test_an_inverted_picture_without_alpha_stands_beside_itself_to_the_bit(here):
    made = invert("plain.png", Asked("a blue ball", steps=4, cfg_scale=1.0), "a.png")
    sheet = read_picture(made.path)
    assert sheet.shape == (64, 128, 3)
    assert np.array_equal(sheet[:, :64], read_picture("plain.png"))
    back = np.square(sheet[:, 64:] / 255.0 - sheet[:, :64] / 255.0).mean()
    noise = generate(Asked("a blue ball", steps=4, cfg_scale=1.0), "noise.png")
    other = read_picture(noise)
    onto = other[..., :3] * (other[..., 3:] / 255.0) + np.array(BACKGROUND) * (1 - other[..., 3:] / 255.0)
    assert back < 0.25 * np.square(onto / 255 - sheet[:, :64] / 255.0).mean()  # as another noise has it
    assert made.psnr > 20


@pytest.mark.parametrize(
    "words",
    [
        ["edit", "plain.png", "a cat", "--out", "plain.png"],
        ["edit", "plain.png", "a cat", "--mask", "mask.png", "--out", "./mask.png"],
        ["inpaint", "plain.png", "a cat", "--mask", "mask.png", "--out", "mask.png"],
        ["invert", "link.png", "a cat", "--out", "plain.png"],
        ["control", "a cat", "--control", ".", "--hint", "plain.png", "--out", "plain.png"],
    ],
)
def test_what_is_read_is_never_written_over(here, capsys, words):
    (here / "link.png").symlink_to("plain.png")
    before = contents(here)
    assert cli.main(["image", *words]) == 2
    assert "would be lost" in capsys.readouterr().err
    assert contents(here) == before
    generate(Asked("a cat", steps=1), "plain.png")  # another file is replaced, as --out says
    assert contents(here) != before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["genrate", "a cat"], "unknown verb 'genrate'; did you mean 'generate'?"),
        (["a cat " * 2000], "the prompt has 12000 characters; 4000 are the most"),
        (["a cat", "--negative", "dog " * 2000], "the prompt of --negative has 8000 characters"),
        (["invert", "plain.png", "a cat", "--to", "dog " * 2000], "the prompt of --to has 8000 characters"),
        (["invert", "plain.png", "a cat", "--noise", "mask.png/n.safetensors"], "cannot be written"),
        (["a cat", "--out", "mask.png/a.png"], "cannot be written"),
        (["a cat", "--out", "/proc/a.png"], "cannot be written"),
        (["a cat", "--cfg", "nan"], "--cfg is 0 to"),
        (["edit", "plain.png", "a cat", "--strength", "nan"], "--strength is 0 to 1"),
        (["control", "a cat", "--control", ".", "--hint", "plain.png", "--scale", "nan"], "--scale is 0 to"),
        (["control", "a cat", "--control", ".", "--hint", "gone.png"], "gone.png: there is no such file"),
        (["control", "a cat", "--control", ".", "--hint", "plain.png"], "config.json is missing"),
    ],
)
def test_bad_input_is_one_line_before_any_work(here, capsys, words, says):
    before = contents(here)
    assert cli.main(["image", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert says in err
    assert err.count("\n") == 1
    assert contents(here) == before


def test_a_place_to_write_is_tried_and_left_as_it_was(here):
    before = contents(here)
    check_writable(here / "new" / "folders" / "a.png")
    assert contents(here) == before
    assert not (here / "new").exists()
    with pytest.raises(UserError, match="cannot be written"):
        check_writable(here / "mask.png" / "a.png")


def test_of_every_prompt_the_unknown_words_are_said(here, capsys):
    words = ["invert", "clear.png", "a glorp", "--to", "a zyzzyva", "--negative", "a blarg", "--steps", "1"]
    assert cli.main(["image", *words, "--out", "a.png"]) == 0
    err = capsys.readouterr().err
    assert "glorp, blarg, zyzzyva" in err
    assert cli.main(["image", "a red mushroom", "--steps", "1", "--out", "b.png"]) == 0
    assert "never met" not in capsys.readouterr().err


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """A toy prior with a ControlNet that was trained beside it, and some that were not."""
    root = tmp_path_factory.mktemp("family")
    pipelines.saved(pipelines.stable_diffusion(), root / "base")
    net = pipelines.controlnet(5)
    net.controlnet_cond_embedding.conv_out.weight.data *= 20  # a random one hardly looks at its picture
    net.save_pretrained(root / "net")
    others = {"text": {"cross_attention_dim": 24}, "wide": {"block_out_channels": (16, 32)}, "short": {}}
    for name, changes in others.items():
        unet = pipelines.unet(**changes, layers_per_block=1 if name == "short" else 2)
        pipelines.controlnet(5, unet).save_pretrained(root / name)
    return root


def test_a_controlnet_is_shown_the_hint(here, family):
    """A clear hint lies over black; one of another size is fitted, and that is said."""
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save("black.png")
    Image.fromarray(np.full((16, 16, 4), (255, 255, 255, 0), np.uint8)).save("nothing.png")
    base, said = str(family / "base"), Console(file=io.StringIO(), width=500)

    def made(hint, weight=1.0):
        networks = [{"model": str(family / "net"), "weight": weight}]
        asked = Asked("a red chair", steps=2, model=base, control=networks)
        return read_picture(control(hint, asked, "a.png", Progress(console=said))).astype(int)

    plain = read_picture(generate(Asked("a red chair", steps=2, model=base), "b.png")).astype(int)
    assert np.array_equal(made("black.png", 0.0), plain)
    black = made("black.png")
    assert np.abs(black - plain).mean() > 0.5
    assert np.array_equal(made("nothing.png"), black)
    assert "fitted" not in said.file.getvalue()
    assert np.abs(made("plain.png") - black).mean() > 0.5
    assert "plain.png: 64 x 64 pixels, fitted into the prior's 16 x 16" in said.file.getvalue()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("text", "its cross_attention_dim is 24, the prior's 16"),
        ("wide", "its block_out_channels is"),
        ("short", "its layers_per_block is 1, the prior's 2"),
        ("base/unet", "is of class 'UNet2DConditionModel', where ControlNetModel is expected"),
    ],
)
def test_a_controlnet_of_another_family_is_refused_in_one_line(here, family, capsys, name, says):
    words = ["image", "control", "a cat", "--model", str(family / "base"), "--control", str(family / name)]
    assert cli.main([*words, "--hint", "plain.png", "--steps", "1", "--quiet"]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1
    assert not (here / "image.png").exists()


def test_more_steps_than_the_schedule_has_are_refused(here, family):
    folder = here / "short-schedule"
    shutil.copytree(family / "base", folder)
    scheduler = folder / "scheduler" / "scheduler_config.json"
    scheduler.write_text(json.dumps(json.loads(scheduler.read_text()) | {"num_train_timesteps": 20}))
    generate(Asked("a red chair", steps=20, model=str(folder)), "a.png")
    with pytest.raises(UserError, match="--steps is 1 to 20 for the prior"):
        generate(Asked("a red chair", steps=21, model=str(folder)), "b.png")
    assert not (here / "b.png").exists()
