"""Times fall, end clean, and are those of diffusers."""

import itertools

import diffusers
import pytest

from distill3d.diffusion.timesteps import started_at, timesteps

SPACINGS = ["leading", "trailing", "linspace"]


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 2, 7, 30, 75, 999, 1000])
def test_times_fall_to_the_clean_end(spacing, steps):
    times = timesteps(steps, spacing)
    assert len(times) == steps + 1
    assert times[-1] == -1
    assert all(t > s for t, s in itertools.pairwise(times))
    assert times[0] <= 999
    if spacing != "leading":
        assert times[0] == 999
    if spacing == "leading" or (spacing == "linspace" and steps > 1):
        assert times[-2] == 0


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [10, 30, 50])
def test_times_agree_with_diffusers(spacing, steps):
    theirs = diffusers.DDIMScheduler(timestep_spacing=spacing)
    theirs.set_timesteps(steps)
    assert timesteps(steps, spacing)[:-1] == theirs.timesteps.tolist()


def test_the_offset_of_stable_diffusion_agrees_with_diffusers():
    theirs = diffusers.DDIMScheduler(timestep_spacing="leading", steps_offset=1)
    theirs.set_timesteps(50)
    assert timesteps(50, "leading", offset=1)[:-1] == theirs.timesteps.tolist()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="do not fit"):
        timesteps(1001)
    with pytest.raises(ValueError, match="unknown spacing 'even'"):
        timesteps(10, "even")


def test_a_start_in_the_middle_is_itself_a_time():
    times = timesteps(10)
    assert started_at(times, 500) == [500, 399, 299, 199, 99, -1]
    assert started_at(times, 560) == [560, 499, 399, 299, 199, 99, -1]
    assert started_at(times, 499) == [499, 399, 299, 199, 99, -1]
    assert started_at(times, 20) == [20, -1]
    assert started_at(times, 100) == [100, -1]
    assert started_at(times, -1) == [-1]
