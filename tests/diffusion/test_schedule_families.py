"""Each family against its formula and against diffusers."""

import diffusers
import pytest
import torch

from distill3d.diffusion import schedule_families as families
from distill3d.diffusion.schedule import NoiseSchedule


def test_cosine_follows_its_formula_where_it_is_not_capped():
    u = torch.arange(1, 1000, dtype=torch.float64) / 1000
    f = ((u + 0.008) / 1.008 * torch.pi / 2).cos() ** 2
    f0 = torch.cos(torch.tensor(0.008 / 1.008, dtype=torch.float64) * torch.pi / 2) ** 2
    assert torch.allclose(families.alpha_bar_of(families.cosine_betas())[:999], f / f0, atol=1e-12)


def test_scaled_linear_is_linear_in_the_root():
    roots = families.scaled_linear_betas().sqrt()
    assert torch.allclose(roots.diff(), roots.diff()[:1], atol=1e-15)
    assert not torch.allclose(families.linear_betas().sqrt().diff(), roots.diff()[:1], atol=1e-6)


def test_zero_terminal_snr_keeps_the_first_step_and_the_shape():
    before = families.alpha_bar_of(families.scaled_linear_betas())
    after = families.zero_terminal_snr(before)
    assert after[-1] == 0
    assert abs(after[0] - before[0]) < 1e-15
    # Affine in the root: shares of the way from first to last are the same.
    a, b = before.sqrt(), after.sqrt()
    assert torch.allclose((a - a[-1]) / (a[0] - a[-1]), (b - b[-1]) / (b[0] - b[-1]), atol=1e-14)
    assert before[-1] > 4e-3


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_rectified_flow_agrees_with_diffusers(shift):
    alpha, sigma = families.rectified_flow(1000, shift)
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift).sigmas.double().flip(0)
    assert torch.allclose(sigma, theirs, atol=1e-6)
    assert torch.equal(alpha, 1 - sigma)
    assert alpha[-1] == 0


def test_a_flow_is_known_by_its_class_and_by_its_flags():
    by_class = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
    by_flag = {"_class_name": "DPMSolverMultistepScheduler", "use_flow_sigmas": True, "flow_shift": 3.0}
    for config in (by_class, by_flag):
        assert torch.equal(NoiseSchedule.from_config(config).sigma, families.rectified_flow(1000, 3.0)[1])
    plain = NoiseSchedule.from_config({"_class_name": "DPMSolverMultistepScheduler", "use_flow_sigmas": False})
    assert not torch.allclose(plain.alpha + plain.sigma, torch.ones(1000, dtype=torch.float64), atol=0.1)
