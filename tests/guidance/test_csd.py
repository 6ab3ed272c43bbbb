"""Identities K1 to K4 of classifier score distillation on the analytic oracle."""

import pytest
import torch

from distill3d.diffusion.condition import Condition
from distill3d.guidance.csd import csd
from distill3d.guidance.sds import sds
from tests.oracles import Oracle


@pytest.fixture
def oracle():
    return Oracle()


def case(batch=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, noise = torch.randn(2, batch, 2, 2, 2, dtype=torch.float64, generator=generator)
    return x, torch.linspace(20, 980, batch).long(), noise


@pytest.mark.parametrize("weighting", ["sds", "uniform", "fantasia3d", "clean"])
def test_sds_is_a_row_of_the_table(oracle, weighting):
    x, t, noise = case()
    plus = oracle.condition("plus")
    expected = sds(oracle, x, t, noise, plus, 12.0, weighting)
    assert torch.allclose(csd(oracle, x, t, noise, plus, 12.0, 1.0, weighting)[0], expected, atol=1e-10)
    assert not torch.allclose(csd(oracle, x, t, noise, plus, 12.0, 0.0, weighting)[0], expected, atol=1e-3)


def test_k1_it_is_the_limit_of_sds_at_a_large_scale(oracle):
    x, t, noise = case()
    plus = oracle.condition("plus")
    pure = csd(oracle, x, t, noise, plus)[0]
    errors = [(sds(oracle, x, t, noise, plus, s) / s - pure).abs().max().item() for s in (1e2, 1e4, 1e6)]
    assert errors[1] < errors[0] / 50
    assert errors[2] < errors[1] / 50


def test_k3_it_is_the_gradient_of_the_classifier(oracle):
    """`e_c - e_0 = -sigma grad log p(c | x_t)`, by automatic differentiation of the oracle's own classifier."""
    x, t, noise = case()
    alpha, sigma = oracle.schedule.at(t, x)
    x_t = (alpha * x + sigma * noise).requires_grad_()
    oracle.log_classes(x_t, t)[:, 0].sum().backward()
    got = csd(oracle, x, t, noise, oracle.condition("plus"), weighting="uniform")[0]
    assert torch.allclose(got, -sigma * x_t.grad, atol=1e-10)


def test_k4_alone_it_drifts_outwards_and_the_generative_part_holds_it(oracle):
    norms = {}
    for generative in (0.0, 1.0):
        x = torch.full((8, 2, 2, 2), 0.2, dtype=torch.float64)
        generator = torch.Generator().manual_seed(0)
        track = []
        for _ in range(400):
            t = torch.randint(20, 980, (8,), generator=generator)
            noise = torch.randn(x.shape, dtype=x.dtype, generator=generator)
            x = x - 0.2 * csd(oracle, x, t, noise, oracle.condition("plus"), 1.0, generative)[0]
            track.append(float(x.mean()))
        norms[generative] = track
    assert norms[0.0][-1] > norms[0.0][200] > norms[0.0][50]
    assert abs(norms[1.0][-1] - 1) < 0.15  # SDS at scale 1 stays at the class mean


def test_a_condition_without_a_branch_to_move_away_from_is_refused(oracle):
    x, t, noise = case(2)
    with pytest.raises(ValueError, match="unconditional"):
        csd(oracle, x, t, noise, Condition(oracle.condition("plus").text))
