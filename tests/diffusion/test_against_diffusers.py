"""Our samplers give the results of diffusers' schedulers where theirs are right, and how they differ where not."""

import itertools

import diffusers
import pytest
import torch

from distill3d.diffusion.ddim import ddim
from distill3d.diffusion.ddpm import ddpm
from distill3d.diffusion.dpm_solver import dpm_solver
from distill3d.diffusion.euler_flow import euler_flow
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.schedule_families import rectified_flow
from distill3d.diffusion.timesteps import timesteps
from tests.diffusion.walks import denoiser, noise, seeded
from tests.oracles import STABLE_DIFFUSION, Oracle

TOLERANCE = 1e-5
DDIM = STABLE_DIFFUSION | {"clip_sample": False, "set_alpha_to_one": True}


@pytest.fixture
def oracle():
    return Oracle()


def theirs_through(scheduler, oracle, x, steps, limits=None, **options):
    """Their loop, with the oracle's noise, and their own float32 tables."""
    scheduler.set_timesteps(steps)
    predict = denoiser(oracle)
    for t in scheduler.timesteps:
        x = scheduler.step(predict(x, t.expand(len(x))).noise, t, x, **options).prev_sample
    return x.detach()


def difference(a, b):
    return (a - b).abs().max().item()


@pytest.mark.parametrize(("spacing", "steps"), [("leading", 50), ("leading", 30), ("trailing", 50), ("trailing", 20)])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim(oracle, spacing, steps, eta):
    theirs = diffusers.DDIMScheduler(**DDIM, timestep_spacing=spacing)
    x = theirs_through(theirs, oracle, noise(4), steps, eta=eta, generator=seeded(1))
    ours = ddim(oracle.schedule, denoiser(oracle), noise(4), timesteps(steps, spacing), eta, generator=seeded(1))
    assert difference(ours, x) < TOLERANCE


@pytest.mark.parametrize("steps", [30, 75])
def test_ddim_of_diffusers_misses_its_own_trailing_times(oracle, steps):
    """It steps to t - T // N, whatever time comes next; wrong wherever N does not divide T."""
    theirs = diffusers.DDIMScheduler(**DDIM, timestep_spacing="trailing")
    x = theirs_through(theirs, oracle, noise(4), steps)
    ours = ddim(oracle.schedule, denoiser(oracle), noise(4), timesteps(steps))
    assert difference(ours, x) > 10 * TOLERANCE
    # Ours, sent where theirs goes but asked at the times that theirs is asked at, is theirs again.
    for t in timesteps(steps)[:-1]:
        theirs_s = t - 1000 // steps
        last = ddim(oracle.schedule, denoiser(oracle), noise(4), [t, max(theirs_s, -1)])
        step = theirs.step(denoiser(oracle)(noise(4), torch.full((4,), t)).noise, t, noise(4)).prev_sample
        assert difference(last, step) < TOLERANCE


def test_ddim_of_diffusers_misses_its_linspace_times_by_more(oracle):
    theirs = diffusers.DDIMScheduler(**DDIM, timestep_spacing="linspace")
    times = timesteps(10, "linspace")
    theirs.set_timesteps(10)
    assert theirs.timesteps.tolist() == times[:-1]
    gaps = [abs((t - 100) - s) for t, s in itertools.pairwise(times[:-1])]
    assert len(gaps) == 9
    assert min(gaps) > 0
    assert max(gaps) == 11
    x = theirs_through(theirs, oracle, noise(4), 10)
    assert difference(ddim(oracle.schedule, denoiser(oracle), noise(4), times), x) > 0.01


def test_ddim_of_diffusers_clips_the_picture_and_keeps_the_old_noise(oracle):
    """Unless told use_clipped_model_output, its picture and noise then no longer make x_t; ours do."""
    times, limits = timesteps(50, "leading"), (-1.0, 1.0)
    ours = ddim(oracle.schedule, denoiser(oracle), noise(4), times, clip=limits)
    scheduler = diffusers.DDIMScheduler(**(DDIM | {"clip_sample": True}))
    asked = theirs_through(scheduler, oracle, noise(4), 50, use_clipped_model_output=True)
    assert difference(ours, asked) < TOLERANCE
    # By default one step from t = 399 already lands elsewhere, where no e leads to the x_t that it came from.
    x, t = 2 * noise(4), torch.full((4,), 399)
    told = denoiser(oracle)(x, t)
    one = scheduler.step(told.noise, 399, x).prev_sample
    assert difference(one, ddim(oracle.schedule, denoiser(oracle), x, [399, 379], clip=limits)) > 0.05
    alpha, sigma = oracle.schedule.at(t - 20, x)
    assert difference(one, alpha * told.clean.clamp(*limits) + sigma * told.noise) < TOLERANCE


def test_the_last_step_of_stable_diffusion_keeps_the_first_noise(oracle):
    """set_alpha_to_one=False and steps_offset=1, as SD's configs have it: the walk ends at t = 0, not clean."""
    scheduler = diffusers.DDIMScheduler(**(DDIM | {"set_alpha_to_one": False, "steps_offset": 1}))
    x = theirs_through(scheduler, oracle, noise(4), 50)
    times = timesteps(50, "leading", offset=1)
    assert difference(ddim(oracle.schedule, denoiser(oracle), noise(4), [*times[:-1], 0]), x) < TOLERANCE
    assert difference(ddim(oracle.schedule, denoiser(oracle), noise(4), times), x) > 1e-3


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize(("spacing", "steps"), [("leading", 50), ("linspace", 30), ("trailing", 30)])
def test_ddpm(oracle, variance, spacing, steps):
    settings = {"clip_sample": False, "variance_type": f"fixed_{variance}", "timestep_spacing": spacing}
    theirs = diffusers.DDPMScheduler(**STABLE_DIFFUSION, **settings)
    x = theirs_through(theirs, oracle, noise(4), steps, generator=seeded(1))
    times = timesteps(steps, spacing)
    ours = ddpm(oracle.schedule, denoiser(oracle), noise(4), times, variance, generator=seeded(1))
    if (variance, spacing) == ("large", "trailing"):
        # Theirs adds noise on the way to the clean end wherever the last time is not 0.
        left = oracle.schedule.sigma[times[-2]].item()
        assert left / 2 < (ours - x).std() < 2 * left
    else:
        assert difference(ours, x) < TOLERANCE


@pytest.mark.parametrize("steps", [10, 20, 50])
def test_dpm_solver(oracle, steps):
    settings = {"algorithm_type": "dpmsolver++", "solver_order": 2, "timestep_spacing": "trailing"}
    theirs = diffusers.DPMSolverMultistepScheduler(**STABLE_DIFFUSION, **settings)
    x = theirs_through(theirs, oracle, noise(4), steps)
    assert theirs.timesteps.tolist() == timesteps(steps)[:-1]
    ours = dpm_solver(oracle.schedule, denoiser(oracle), noise(4), timesteps(steps))
    assert difference(ours, x) < TOLERANCE
    assert difference(ddim(oracle.schedule, denoiser(oracle), noise(4), timesteps(steps)), x) > 100 * TOLERANCE


@pytest.mark.parametrize(("spacing", "steps"), [("leading", 20), ("leading", 30), ("linspace", 20), ("linspace", 30)])
def test_dpm_solver_of_diffusers_has_other_times_for_these_spacings(oracle, spacing, steps):
    """It spaces N + 1 times and leaves the last out: no walk of its ends at t = 0, as leading and linspace should."""
    settings = {"algorithm_type": "dpmsolver++", "solver_order": 2, "timestep_spacing": spacing}
    theirs = diffusers.DPMSolverMultistepScheduler(**STABLE_DIFFUSION, **settings)
    x = theirs_through(theirs, oracle, noise(4), steps)
    times, right = [*theirs.timesteps.tolist(), -1], timesteps(steps, spacing)
    assert len(times) == len(right)
    assert right[-2] == 0
    assert times[-2] > 1000 // (steps + 1) - 2
    # At its own times ours is the same; at the right ones it is not.
    assert difference(dpm_solver(oracle.schedule, denoiser(oracle), noise(4), times), x) < TOLERANCE
    assert difference(dpm_solver(oracle.schedule, denoiser(oracle), noise(4), right), x) > 10 * TOLERANCE


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_euler_for_flow(shift, spacing):
    oracle = Oracle(schedule=NoiseSchedule(*rectified_flow(1000, shift)))
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=1.0)
    times = timesteps(28, spacing)
    theirs.set_timesteps(sigmas=[oracle.schedule.sigma[t].item() for t in times[:-1]])
    predict, x = denoiser(oracle), noise(4)
    for t, their_time in zip(times[:-1], theirs.timesteps, strict=True):
        x = theirs.step(predict(x, torch.full((4,), t)).flow, their_time, x.float()).prev_sample.double()
    ours = euler_flow(oracle.schedule, predict, noise(4), times)
    assert difference(ours, x) < TOLERANCE
    other = timesteps(28, "linspace" if spacing == "leading" else "leading")
    assert difference(euler_flow(oracle.schedule, predict, noise(4), other), x) > 10 * TOLERANCE
