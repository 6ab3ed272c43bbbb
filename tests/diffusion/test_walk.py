"""The walk itself: what a callback sees, what a constraint changes, where noise comes from."""

import pytest
import torch

from distill3d.diffusion.sampling import SAMPLERS
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.schedule_families import rectified_flow
from distill3d.diffusion.timesteps import timesteps
from distill3d.diffusion.walk import standard_normal
from tests.diffusion.walks import denoiser, noise, seeded
from tests.oracles import Oracle

FLOW = NoiseSchedule(*rectified_flow())


PLAIN = [name for name in SAMPLERS if name != "ddpm-learned"]  # the oracle says no variance; see test_families


@pytest.mark.parametrize("name", PLAIN)
def test_every_sampler_ends_clean_on_a_schedule_without_signal_at_its_start(name):
    oracle = Oracle(schedule=FLOW)
    seen = []
    options = {"generator": seeded(1), "callback": seen.append}
    with torch.no_grad():
        x = SAMPLERS[name](FLOW, denoiser(oracle, "plus"), noise(200), timesteps(40), **options)
    assert x.isfinite().all()
    assert abs(x.mean() - 1) < 0.05
    assert x.std() < 0.55
    assert [(step.index, step.total, step.t) for step in seen[:2]] == [(0, 40, 999), (1, 40, 974)]
    assert seen[-1].s == -1
    assert torch.equal(seen[-1].x_s, x)


@pytest.mark.parametrize("name", PLAIN)
def test_a_constraint_holds_after_every_step(name):
    oracle, met = Oracle(schedule=FLOW), []

    def constrain(x, s):
        met.append(int(s[0]))
        return torch.cat([torch.zeros_like(x[:, :1]), x[:, 1:]], 1)

    seen = []
    options = {"generator": seeded(1), "callback": seen.append, "constrain": constrain}
    x = SAMPLERS[name](FLOW, denoiser(oracle), noise(3), timesteps(5), **options)
    assert met == timesteps(5)[1:]
    assert not x[:, 0].any()
    assert x[:, 1].abs().min() > 0
    assert not any(step.x_s[:, 0].any() for step in seen)


def test_a_generator_for_each_picture_makes_it_independent_of_the_others():
    like = torch.zeros(3, 2, 2, dtype=torch.float64)
    three = standard_normal(like, [seeded(i) for i in range(3)])
    assert torch.equal(three[1:2], standard_normal(like[:1], [seeded(1)]))
    assert torch.equal(three[1:2], standard_normal(like[:1], seeded(1)))
    assert not torch.equal(three[1:2], standard_normal(like, seeded(0))[1:2])
    with pytest.raises(ValueError, match="2 generators for 3 pictures"):
        standard_normal(like, [seeded(0), seeded(1)])
