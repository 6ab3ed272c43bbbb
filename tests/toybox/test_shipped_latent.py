"""The miniature of Stable Diffusion that is shipped: diffusers opens it unchanged, its samples are what was asked for,
and what is written for latent models runs on it: distillation through the encoder, img2img, inpainting."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from distill3d.cli import main
from distill3d.core.view_names import with_view
from distill3d.diffusion.aliases import LATENT
from distill3d.diffusion.ddim import ddim
from distill3d.diffusion.folder import local
from distill3d.diffusion.guided import guided_denoiser
from distill3d.diffusion.latents import LatentCodec
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.sampling import sample
from distill3d.diffusion.timesteps import timesteps
from distill3d.guidance.sds import sds
from distill3d.guidance.surrogate import surrogate_loss
from distill3d.run.image import Asked
from distill3d.run.image_edit import edit, inpaint
from distill3d.toybox.backdrops import over_grey
from distill3d.toybox.judge import SIZE, Judge

FOLDER = local(LATENT)
pytestmark = pytest.mark.skipif(
    not (FOLDER / "model_index.json").is_file(),
    reason="the weights of toybox-latent are not in this checkout; distill3d toybox train-latent makes them",
)
ASKED = (
    ("red", "cube"), ("blue", "mushroom"), ("green", "cone"), ("yellow", "sphere"), ("purple", "cylinder"),
    ("red", "car"), ("green", "tree"), ("blue", "rocket"), ("purple", "tower"), ("yellow", "pyramid"),
)  # fmt: skip
COLORS_RIGHT, KINDS_RIGHT = 8, 3  # of the ten, at least


@pytest.fixture(scope="module")
def prior():
    return DiffusionPrior(DiffusionPrior.Config(model=LATENT))


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def toy_color(picture):
    """Mean colour of what differs from the wall, [3], of one picture [H, W, 3] in 0..1."""
    read = over_grey(picture[None])[0]
    return read[..., :3][read[..., 3] > 0.5].mean(0)


def test_it_has_the_layout_of_stable_diffusion_and_is_small(prior):
    assert isinstance(prior.codec, LatentCodec)
    assert (prior.predicts, prior.resolution, prior.sees_alpha, prior.sees_cameras) == ("velocity", SIZE, False, False)
    assert prior.x_shape(1) == (1, 4, 16, 16)
    assert sum(file.stat().st_size for file in FOLDER.rglob("*.safetensors")) < 14 * 2**20


def test_diffusers_opens_it_unchanged_and_makes_the_same_picture(prior):
    """Its DDIM ends at the noise of t = 0, ours at the clean picture: ending there too, the two walk the same times."""
    pipe = StableDiffusionPipeline.from_pretrained(FOLDER)
    pipe.set_progress_bar_config(disable=True)
    noise, said, steps = torch.randn(prior.x_shape(1), generator=seeded(0)), "a red cube, front view", 5
    made = pipe(said, latents=noise, num_inference_steps=steps, guidance_scale=3.0, output_type="np").images[0]
    times = [*timesteps(steps, "leading", offset=1)[:-1], 0]
    assert times[:-1] == pipe.scheduler.timesteps.tolist()

    @torch.no_grad()
    def ours(prompt):
        return prior.decode(ddim(prior.schedule, guided_denoiser(prior, prior.condition(prompt), 3.0), noise, times))[0]

    np.testing.assert_allclose(ours(said).clamp(0, 1).numpy(), made, atol=2e-3)
    assert np.abs(ours("a blue cone, front view").clamp(0, 1).numpy() - made).mean() > 0.02


def test_samples_are_what_was_asked_for_in_the_judges_eyes(prior):
    words = [with_view(f"a {color} {kind}", "front") for color, kind in ASKED]
    told = Judge.load().judge(over_grey(sample(prior, prior.condition(words), 8, 3.0, generator=seeded(0))))

    def right(wanted):
        colors = [a == color for a, (color, _) in zip(told.color_names, wanted, strict=True)]
        kinds = [a == kind for a, (_, kind) in zip(told.category_names, wanted, strict=True)]
        return sum(colors), sum(kinds)

    colors, kinds = right(ASKED)
    wrong_colors, wrong_kinds = right([*ASKED[1:], ASKED[0]])
    assert colors >= COLORS_RIGHT > wrong_colors + 3
    assert kinds >= KINDS_RIGHT > wrong_kinds


def test_distillation_through_the_encoder_pulls_pixels_towards_the_prompt(prior):
    """Pixels are free, the gradient comes through E alone; another prompt takes the same pixels elsewhere."""

    def pulled(prompt):
        canvas = torch.full((1, 3, 8, 8), 0.5)  # a coarse grid of colours, drawn large: no pixel is alone
        canvas.requires_grad_(True)
        descent, draws = torch.optim.Adam([canvas], 0.1), seeded(3)
        condition = prior.condition(prompt)
        for _ in range(20):
            picture = torch.nn.functional.interpolate(canvas, size=(SIZE, SIZE), mode="bicubic").permute(0, 2, 3, 1)
            x = prior.encode(picture)
            t = torch.randint(500, 980, (1,), generator=draws)
            noise = torch.randn(x.shape, generator=draws)
            descent.zero_grad()
            surrogate_loss(x, sds(prior, x, t, noise, condition, 5.0, "clean")).backward()
            descent.step()
        return picture.detach()[0].clamp(0, 1)

    red, blue = pulled("a red cube"), pulled("a blue cube")
    for picture, own, other in ((red, 0, 2), (blue, 2, 0)):
        color = toy_color(picture)
        assert color[own] > color[other] + 0.15


def write(path, picture):
    Image.fromarray(np.round(255 * picture).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def cube(tmp_path):
    """A flat red square before a grey wall, as a file."""
    picture = np.full((SIZE, SIZE, 3), 0.5)
    picture[18:46, 18:46] = (0.85, 0.1, 0.1)
    return write(tmp_path / "cube.png", picture)


def read(path):
    return torch.from_numpy(np.asarray(Image.open(path).convert("RGB")) / np.float32(255))


def test_img2img_follows_the_prompt_and_without_strength_keeps_the_picture(cube, tmp_path):
    asked = Asked("a blue cube", model=LATENT, steps=6, cfg_scale=5.0)
    blue = toy_color(read(edit(cube, asked, tmp_path / "blue.png", strength=0.9)))
    red = toy_color(read(edit(cube, replace(asked, prompt="a red cube"), tmp_path / "red.png", strength=0.9)))
    assert blue[2] > blue[0] + 0.15
    assert red[0] > red[2] + 0.15
    still = read(edit(cube, asked, tmp_path / "still.png", strength=0.0))
    assert (still - read(cube)).abs().mean() < 0.03  # what the autoencoder does to it


def test_inpainting_keeps_what_is_known_to_the_bit_and_fills_the_rest_by_the_prompt(cube, tmp_path):
    hole = np.zeros((SIZE, SIZE, 3))
    hole[8:56, 8:56] = 1
    mask, filled = write(tmp_path / "mask.png", hole), {}
    for color in ("red", "blue"):
        asked = Asked(f"a {color} cube", model=LATENT, steps=6, cfg_scale=5.0)
        filled[color] = read(inpaint(cube, asked, tmp_path / f"{color}.png", mask=mask, jump=2, repeats=2))
        known = torch.from_numpy(hole[..., 0] == 0)
        assert torch.equal(filled[color][known], read(cube)[known])
        assert not torch.equal(filled[color], read(cube))
    assert toy_color(filled["red"])[0] > toy_color(filled["red"])[2] + 0.15
    assert toy_color(filled["blue"])[2] > toy_color(filled["blue"])[0] + 0.15


def test_the_verb_takes_it_by_name_and_refuses_a_camera(tmp_path, capsys):
    words = ["image", "a yellow sphere", "--model", LATENT, "--steps", "6", "--seed", "1", "--quiet"]
    assert not main([*words, "--out", str(tmp_path / "sphere.png")])
    color = toy_color(read(tmp_path / "sphere.png"))
    assert min(color[0], color[1]) > color[2] + 0.15
    assert main([*words, "--view", "front", "--out", str(tmp_path / "no.png")]) == 2
    assert "say the view in the prompt" in capsys.readouterr().err
    assert not (tmp_path / "no.png").exists()
