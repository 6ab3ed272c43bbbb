"""DreamTime's schedule against the quartiles that the field guide computed, and its defining property."""

import pytest
import torch

from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.guidance.dreamtime import scheduled_time, time_weights
from tests.oracles import STABLE_DIFFUSION

SCHEDULE = NoiseSchedule.from_config(STABLE_DIFFUSION)


@pytest.mark.parametrize(("version", "quartiles"), [("v1", (999, 834, 680, 528, 1)), ("v2", (946, 642, 556, 470, 1))])
def test_quartiles(version, quartiles):
    weights = time_weights(SCHEDULE, version)
    times = [scheduled_time(weights, round(q * 10_000), 10_000) for q in (0, 0.25, 0.5, 0.75)]
    assert all(abs(a - b) <= 2 for a, b in zip(times[1:], quartiles[1:4], strict=True))


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_it_falls_and_spends_its_steps_as_the_weights_say(version):
    weights, steps = time_weights(SCHEDULE, version), 500
    times = torch.tensor([scheduled_time(weights, i, steps) for i in range(steps)])
    assert bool((times.diff() <= 0).all())
    assert times[-1] < 250 < 700 < times[0]
    spent = torch.histc(times.double(), 10, 0, 1000)
    wanted = weights.view(10, 100).sum(1) * steps
    assert (spent - wanted).abs().max() <= 1.5
    assert (steps / 10 - wanted).abs().max() > 20  # negative control: uniform times would not pass


def test_it_stretches_to_another_number_of_times():
    half = NoiseSchedule.from_config({**STABLE_DIFFUSION, "num_train_timesteps": 500})
    assert abs(scheduled_time(time_weights(half, "v1"), 50, 100) - 680 / 2) <= 2
