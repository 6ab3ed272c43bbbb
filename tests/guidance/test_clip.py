"""Dream Fields' two losses, and what the guidance does to a picture, with an encoder whose answer is known."""

import math

import pytest
import torch
import torch.nn.functional as F

from distill3d.cli import main as command
from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.core.rendering import Rendering
from distill3d.diffusion.text_image import TextImageEncoder
from distill3d.guidance import Clip, Guidance
from distill3d.guidance.clip import augmented, reach, similarity_loss, target_opacity, transmittance_loss

COLORS = {"red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0), "blue": (0.0, 0.0, 1.0), "white": (1.0, 1.0, 1.0)}


class MeanColor(TextImageEncoder):
    """A picture is its mean colour, and so is a text: the mean of the colours that it names."""

    def __init__(self):
        super().__init__(16, (0.0,) * 3, (1.0,) * 3)
        self.heard = []

    def _see(self, pixels):
        return pixels.mean((2, 3))

    def _hear(self, prompts):
        self.heard += prompts
        named = [[COLORS[word.strip(",")] for word in p.split() if word.strip(",") in COLORS] for p in prompts]
        return torch.tensor(named).mean(1)


def guidance(prompt="red", seed=0, negative_prompt="", **config):
    return Guidance.build(
        {"kind": "clip", "cuts": 2, **config},
        prompt=prompt,
        prior=None,
        generator=torch.Generator().manual_seed(seed),
        negative_prompt=negative_prompt,
        encoder=MeanColor(),
    )


def cameras(count=2, at=1.0):
    fov = math.radians(50)
    return Cameras.orbit(torch.linspace(0, 3, count), 0.2, at / math.tan(fov / 2), fov, 16)


def rendering_of(color, alpha):
    """Views [B, 16, 16, 3] of one colour each pixel, of coverage alpha, over black."""
    return Rendering(color * alpha, alpha, torch.ones_like(alpha), extras={"foreground": color * alpha})


def painted(member, steps=70, views=2):
    """Colour and coverage of every pixel of a picture that all views show, after as many steps."""
    generator = torch.Generator().manual_seed(5)
    raw = (0.2 * torch.randn(1, 16, 16, 4, generator=generator)).requires_grad_()
    optimizer = torch.optim.Adam([raw], lr=0.2)
    for step in range(steps):
        optimizer.zero_grad()
        picture = raw.sigmoid().expand(views, -1, -1, -1)
        member(rendering_of(picture[..., :3], picture[..., 3:]), cameras(views), step).loss.backward()
        optimizer.step()
    return raw.detach().sigmoid()[0]


def test_the_losses_are_the_published_ones():
    pictures, texts = (F.normalize(torch.randn(3, 8, generator=torch.Generator().manual_seed(i))) for i in (0, 1))
    assert torch.allclose(
        similarity_loss(pictures, texts), -torch.stack([a @ b for a, b in zip(pictures, texts, strict=True)]).mean()
    )
    assert similarity_loss(texts, texts).item() == pytest.approx(-1)
    alpha = torch.stack([torch.full((4, 4, 1), value) for value in (0.0, 0.2, 0.9)])
    # tau = 0.7: the first two are emptier than that and get no more than 0.7, the third has a transmittance of 0.1.
    assert transmittance_loss(alpha, torch.full((3,), 0.3)).item() == pytest.approx(-(0.7 + 0.7 + 0.1) / 3)


def test_a_picture_that_is_empty_enough_is_left_alone():
    alpha = torch.stack([torch.full((4, 4, 1), value) for value in (0.1, 0.9)]).requires_grad_()
    transmittance_loss(alpha, torch.full((2,), 0.3)).backward()
    assert torch.equal(alpha.grad[0], torch.zeros(4, 4, 1))
    assert torch.allclose(alpha.grad[1], torch.full((4, 4, 1), 1 / 32))


def test_the_wanted_opacity_falls_evenly_in_the_logarithm():
    values = [target_opacity(step, 0.6, 0.15, 100) for step in (0, 50, 100, 1000)]
    assert values == pytest.approx([0.6, 0.3, 0.15, 0.15])


def test_a_camera_that_sees_more_wants_less_of_its_picture_covered():
    near, far = (guidance(opacity=(0.4, 0.4))(rendering_of(*grey()), cameras(2, at), 0) for at in (1.0, 2.0))
    assert near.metrics["wanted_opacity"] == pytest.approx(0.4, rel=1e-4)
    assert far.metrics["wanted_opacity"] == pytest.approx(0.1, rel=1e-4)
    assert torch.allclose(reach(cameras(2, 1.7)), torch.tensor(1.7))


def grey(views=2, alpha=0.5):
    return torch.full((views, 16, 16, 3), 0.5), torch.full((views, 16, 16, 1), alpha)


@pytest.mark.parametrize("color", ["red", "blue"])
def test_what_is_painted_is_what_was_asked_for(color):
    shown = painted(guidance(color, opacity=(0.5, 0.5)))
    mean = (shown[..., :3] * shown[..., 3:]).sum((0, 1)) / shown[..., 3:].sum()
    assert F.cosine_similarity(mean, torch.tensor(COLORS[color]), dim=0) > 0.97


def test_the_transmittance_loss_keeps_the_scene_from_filling_up():
    kept = painted(guidance(opacity=(0.25, 0.25), transmittance=2.0))[..., 3]
    filled = painted(guidance(transmittance=0.0))[..., 3]
    assert kept.mean().item() == pytest.approx(0.25, abs=0.06)
    assert filled.mean() > 0.9  # negative control: nothing but the likeness, which a full picture serves best


def test_random_backdrops_make_the_thing_solid_where_one_backdrop_does_not():
    """Against a backdrop of the prompt's own colour nothing has to be there; against random ones it does."""

    class Red(Clip):
        def pictures(self, rendering):
            red = torch.tensor(COLORS["red"])
            return rendering.extras["foreground"] + (1 - rendering.alpha) * red

    context = {"prompt": "red", "generator": torch.Generator().manual_seed(0), "encoder": MeanColor()}
    config = Clip.Config(transmittance=0.3, opacity=(0.5, 0.5), cuts=1)
    over_red, over_random = painted(Red(config, **context)), painted(Clip(config, **context))
    assert over_random[..., 3].mean() > over_red[..., 3].mean() + 0.1


def test_a_negative_prompt_is_moved_away_from():
    plain, away = (painted(guidance("white", negative_prompt=n, negative=1.0)) for n in ("", "blue"))
    assert (away[..., 2] * away[..., 3]).mean() < (plain[..., 2] * plain[..., 3]).mean() - 0.1


def test_solid_pixels_hide_the_backdrop_and_gradient_reaches_colour_and_coverage():
    color, alpha = torch.rand(3, 16, 16, 3), torch.ones(3, 16, 16, 1)
    one, two = (augmented(color, alpha, 16, torch.Generator().manual_seed(s), (1.0, 1.0), 0.0) for s in (0, 1))
    assert torch.allclose(one, color, atol=1e-5)
    assert torch.allclose(two, color, atol=1e-5)
    half = 0.5 * alpha
    one, two = (augmented(color * half, half, 16, torch.Generator().manual_seed(s), (1.0, 1.0), 0.0) for s in (0, 1))
    assert (one - two).abs().mean() > 0.05
    foreground, coverage = color.clone().requires_grad_(), half.clone().requires_grad_()
    augmented(foreground, coverage, 16, torch.Generator().manual_seed(0), (0.9, 1.2), 0.1).sum().backward()
    assert foreground.grad.abs().sum() > 0
    assert coverage.grad.abs().sum() > 0


def test_the_same_seed_gives_the_same_loss_and_every_text_is_heard_once():
    member = guidance("red", view_prompts=True)
    losses = [guidance("red", seed)(rendering_of(*grey()), cameras(), 0).loss for seed in (0, 0, 1)]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]
    for step in range(3):
        member(rendering_of(*grey(3)), cameras(3), step)
    assert sorted(member.encoder.heard) == ["red, back view", "red, front view", "red, side view"]


def test_a_preview_shows_what_the_encoder_sees():
    out = guidance(cuts=3)(rendering_of(*grey(2)), cameras(2), 0, preview=True)
    assert out.images["seen"].shape == (2, 16, 16, 3)
    assert guidance()(rendering_of(*grey(2)), cameras(2), 0).images == {}


def test_the_encoder_is_no_part_of_the_guidances_state():
    member = Guidance.build({"kind": "clip"}, prompt="a red mug", generator=torch.Generator())
    assert list(member.parameters()) == []
    assert member.state_dict() == {}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"opacity": [0.6, 1.2]}, "at most 1"),
        ({"opacity": [0.0, 0.2]}, "above 0"),
        ({"window": [1.2, 0.9]}, r"\[least, most\]"),
        ({"backdrops": ["fog"]}, "plain, noise, checkerboard, texture"),
        ({"cuts": 0}, "greater than or equal to 1"),
        ({"modl": "toybox"}, "did you mean 'model'"),
    ],
)
def test_an_impossible_config_is_named(config, message):
    with pytest.raises(UserError, match=message):
        guidance(**config)


def test_a_run_with_an_encoder_that_is_not_there_stops_before_anything_is_made(tmp_path, capsys):
    out = tmp_path / "run"
    assert command(["run", "dreamfields", "prompt=a red mug", "guidance.0.model=nowhere", "--out", str(out)]) == 2
    assert "neither 'toybox' nor a folder" in capsys.readouterr().err
    assert not out.exists()
