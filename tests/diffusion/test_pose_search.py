"""Reading caption and azimuth off a picture by a denoiser: an oracle that knows a world of two things finds them."""

import math

import pytest
import torch
from torch import nn

from distill3d.diffusion.pose_search import errors, find_sight, likely_captions
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.text_image import TextImageEncoder


def painted(caption, azimuth):
    """[1, 4, 4]: a thing's picture turns through harmonics of the azimuth; the other thing is its opposite."""
    angle = torch.as_tensor(azimuth) + torch.arange(16.0).view(1, 4, 4) / 3
    return (angle.sin() + 0.5 * (2 * angle).cos()) * (1 if caption == "a mug" else -1)


def mean(said, azimuths):
    return torch.stack([painted(c, a) for c, a in zip(said, azimuths.tolist(), strict=True)])


def clean(x_t, t, said, azimuths):
    return 0.9 * mean(said, azimuths) + 0.1 * x_t


def schedule():
    return NoiseSchedule.from_config({"num_train_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2"})


@pytest.mark.parametrize("azimuth", [-2.0, 0.05, 3.1])
@pytest.mark.parametrize("caption", ["a mug", "a cup"])
def test_the_thing_and_its_side_are_found(caption, azimuth):
    found = find_sight(painted(caption, azimuth), ["a cup", "a mug"], clean, mean, schedule())
    assert found.caption == caption
    apart = math.remainder(found.azimuth - azimuth, 2 * math.pi)
    assert abs(apart) <= math.radians(2.5)  # the finest step is 3.75
    assert abs(math.remainder(found.azimuth - azimuth - math.pi, 2 * math.pi)) > 2


def test_errors_are_least_for_the_truth_and_the_same_each_time():
    x0, turns = painted("a mug", 1.0), torch.tensor([1.0, 1.5, 4.0])
    found = errors(x0, ["a mug"] * 3, turns, clean, schedule())
    assert int(found.argmin()) == 0
    assert torch.equal(found, errors(x0, ["a mug"] * 3, turns, clean, schedule()))
    assert found[2] > 2 * found[0]


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
    blue = torch.tensor([0.1, 0.0, 0.9]).expand(8, 8, 3)
    said = ["a red cube", "a blue cube", "a red and blue cube"]
    assert likely_captions(Colours(), blue, said, 2) == ["a blue cube", "a red and blue cube"]
    assert likely_captions(Colours(), blue.flip(-1), said, 1) == ["a red cube"]
    assert len(likely_captions(Colours(), blue, said)) == 3
