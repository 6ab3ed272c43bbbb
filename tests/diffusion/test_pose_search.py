"""Reading a picture by a denoiser: an oracle that knows a world of two things finds thing, side and place."""

import math

import pytest
import torch
from torch import nn

from distill3d.diffusion.pose_search import Knowledge, errors, find_sight, likely_captions, moved, overlay
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.text_image import TextImageEncoder

SIDE = 32


def painted(caption, azimuth):
    """[32, 32, 4]: a disc with a spot that goes around, white in front and black behind; things differ in colour."""
    line = (torch.arange(SIDE) + 0.5) * (2 / SIDE) - 1
    down, right = torch.meshgrid(line, line, indexing="ij")
    alpha = (20 * (0.5 - torch.hypot(down, 0.8 * right))).sigmoid()
    x = 0.35 * math.sin(azimuth)
    spot = (20 * (0.15 - torch.hypot(down + 0.1, right - x))).sigmoid()[..., None]
    color = torch.tensor([0.9, 0.2, 0.1] if caption == "a mug" else [0.1, 0.2, 0.9])
    rgb = color * (1 - spot) + spot * (0.5 + 0.5 * math.cos(azimuth))
    return torch.cat([rgb * alpha[..., None], alpha[..., None]], -1)


def means(said, azimuths):
    return torch.stack([painted(c, a) for c, a in zip(said, azimuths.tolist(), strict=True)])


def encode(pictures):
    return pictures.permute(0, 3, 1, 2)


def clean(x_t, t, said, azimuths):
    return 0.9 * encode(means(said, azimuths)) + 0.1 * x_t


@pytest.fixture(scope="module")
def known():
    schedule = NoiseSchedule.from_config({"num_train_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2"})
    return Knowledge(means, clean, encode, schedule)


@pytest.mark.parametrize("azimuth", [-1.0, 0.05, 3.1])
@pytest.mark.parametrize("caption", ["a mug", "a cup"])
def test_the_thing_its_side_and_its_place_are_found(known, caption, azimuth):
    zoom, shift = torch.tensor([1.25]), torch.tensor([[0.1, -0.06]])
    (given,) = moved(painted(caption, azimuth), zoom, shift)
    found = find_sight(given, ["a cup", "a mug"], known)
    assert found.caption == caption
    assert abs(math.remainder(found.azimuth - azimuth, 2 * math.pi)) <= math.radians(6)
    assert abs(math.remainder(found.azimuth - azimuth - math.pi, 2 * math.pi)) > 2
    assert found.zoom == pytest.approx(1 / 1.25, abs=0.02)
    assert found.shift == pytest.approx((-0.08, 0.048), abs=0.02)


def test_errors_are_least_for_the_truth_and_the_same_each_time(known):
    x0, turns = encode(painted("a mug", 1.0).expand(3, -1, -1, -1)), torch.tensor([1.0, 1.5, 4.0])
    found = errors(x0, ["a mug"] * 3, turns, known)
    assert int(found.argmin()) == 0
    assert torch.equal(found, errors(x0, ["a mug"] * 3, turns, known))
    assert found[2] > 1.3 * found[0]


def test_an_overlay_undoes_what_moved_a_picture():
    plain = painted("a mug", 0.4)
    zoom, shift = torch.tensor([0.8, 1.3]), torch.tensor([[0.2, 0.1], [-0.05, 0.15]])
    others = moved(plain, zoom, shift)
    back, by = overlay(plain[..., 3], others[..., 3])
    assert torch.allclose(back, zoom, atol=0.01)
    assert torch.allclose(by, shift, atol=0.01)
    assert torch.allclose(moved(plain, back, by), others, atol=0.06)
    assert not torch.allclose(moved(plain, 1 / back, by), others, atol=0.2)


class Colours(TextImageEncoder):
    """Hears "red" and "blue", and sees how much of either there is."""

    def __init__(self):
        super().__init__(8, (0.0,) * 3, (1.0,) * 3)
        self.flat = nn.Identity()

    def _see(self, pixels):
        return self.flat(pixels.mean((2, 3)))

    def _hear(self, prompts):
        return torch.tensor([[float("red" in p), 0.0, float("blue" in p)] for p in prompts])


def test_the_nearest_captions_come_first():
    blue = torch.tensor([0.1, 0.0, 0.9, 1.0]).expand(8, 8, 4)
    said = ["a red cube", "a blue cube", "a red and blue cube"]
    assert likely_captions(Colours(), blue, said, 2) == ["a blue cube", "a red and blue cube"]
    assert likely_captions(Colours(), blue[..., [2, 1, 0, 3]], said, 1) == ["a red cube"]
    assert len(likely_captions(Colours(), blue, said)) == 3
