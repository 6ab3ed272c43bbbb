"""Identities M1 to M4 of interval score matching on the analytic oracle."""

import pytest
import torch

from distill3d.diffusion.guided import guided
from distill3d.diffusion.sampling import ddim_step
from distill3d.guidance.ism import invert_to, ism
from distill3d.guidance.sds import sds
from tests.oracles import Oracle


@pytest.fixture
def oracle():
    return Oracle()


def case(batch=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = 0.6 * torch.randn(batch, 2, 2, 2, dtype=torch.float64, generator=generator)
    t = torch.linspace(150, 950, batch).long()
    return x, t, t - 80, torch.zeros_like(x)


def test_m1_it_is_the_residual_of_a_round_trip(oracle):
    x, t, s, still = case()
    plus, schedule = oracle.condition("plus"), oracle.schedule
    gradient, after = ism(oracle, x, t, s, still, plus, 7.5, "uniform")
    x_s, _ = invert_to(oracle, x, s, still, plus.unconditional, 200, 5)
    back = ddim_step(schedule, after, t, s, 0.0, x_s)
    (a_t, s_t), (a_s, s_s) = schedule.at(t, x), schedule.at(s, x)
    assert torch.allclose(gradient, -(back - x_s) / (a_s * (s_t / a_t - s_s / a_s)), atol=1e-11)


def test_m2_with_the_same_text_it_vanishes_with_the_interval(oracle):
    x, t, _, still = case()
    empty = oracle.condition("")

    def size(interval, condition):
        return ism(oracle, x, t, t - interval, still, condition, 1.0, "uniform")[0].abs().max().item()

    assert size(1, empty) < 0.15 * size(20, empty)
    assert size(1, oracle.condition("plus")) > 10 * size(1, empty)  # negative control: another text does not vanish


def test_m3_from_the_clean_picture_it_is_sds_under_the_predicted_noise(oracle):
    x, t, _, still = case()
    s, plus = torch.zeros_like(t), oracle.condition("plus")
    gradient, _ = ism(oracle, x, t, s, still, plus, 7.5, "uniform")
    start = oracle.schedule.add_noise(x, still, s)
    predicted = guided(oracle, start, s, plus.unconditional, 1.0)
    expected = sds(oracle, predicted.clean, t, predicted.noise, plus, 7.5, "uniform")
    assert torch.allclose(gradient, expected, atol=1e-11)


def test_m4_without_noise_it_is_a_function_of_the_picture(oracle):
    x, t, s, still = case()
    plus = oracle.condition("plus")
    once, again = (ism(oracle, x, t, s, still, plus, 7.5)[0] for _ in range(2))
    assert torch.equal(once, again)
    noise = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    assert not torch.allclose(once, ism(oracle, x, t, s, noise, plus, 7.5)[0])  # as the authors' code does


def test_the_interval_takes_the_noise_out_of_the_gradient(oracle):
    """The claim of the paper: SDS averages over noises, ISM points one way."""
    x, t, s, _ = case(batch=1)
    x, t, s = x.expand(64, -1, -1, -1), t.expand(64) + 400, s.expand(64) + 400
    noise = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(2))
    plus = oracle.condition("plus")
    spread = ism(oracle, x, t, s, 0 * noise, plus, 7.5, "uniform")[0].std(0).mean()
    assert spread < 1e-12 < 0.3 < sds(oracle, x, t, noise, plus, 7.5, "uniform").std(0).mean()
