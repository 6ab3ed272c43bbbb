"""Perp-Neg, for any number of pictures."""

import pytest
import torch

from distill3d.diffusion.guided import branches, guided
from distill3d.diffusion.perp_neg import perp_neg, share_along
from tests.diffusion.walks import noise
from tests.oracles import Oracle


@pytest.fixture
def oracle():
    """Four classes in different directions, so that nothing is parallel."""
    means = noise(4, seed=11)
    return Oracle(means, ("front", "side", "back", "top"))


@pytest.fixture
def noisy():
    return noise(6), torch.tensor([30, 200, 400, 600, 800, 990])


def conditions(oracle, *names):
    return [oracle.condition(name) for name in names]


def test_it_is_the_formula(oracle, noisy):
    front, side, back = conditions(oracle, "front", "side", "back")
    e_0, e, *others = (p.noise for p in branches(oracle, *noisy, [front.unconditional, front, side, back]))
    expected, d = e - e_0, e - e_0
    for w, other in zip((-1.5, -0.4), others, strict=True):
        d_i = other - e_0
        inner = (d_i * d).flatten(1).sum(1) / (d * d).flatten(1).sum(1)
        expected = expected + w * (d_i - inner.reshape(-1, 1, 1, 1) * d)
    oracle.batches.clear()
    made = perp_neg(oracle, *noisy, front, [side, back], 7.5, [-1.5, -0.4])
    assert oracle.batches == [24]
    assert torch.allclose(made.noise, e_0 + 7.5 * expected, atol=1e-9)
    assert torch.allclose(made.alpha * made.clean + made.sigma * made.noise, noisy[0], atol=1e-9)


def test_a_picture_does_not_know_the_others_of_its_batch(oracle, noisy):
    front, side = conditions(oracle, "front", "side")
    x, t = noisy
    together = perp_neg(oracle, x, t, front, [side], 7.5, [-2.0]).noise
    alone = [perp_neg(oracle, x[i : i + 1], t[i : i + 1], front, [side], 7.5, [-2.0]).noise for i in range(6)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-10)
    # Negative control: one inner product over the whole batch, as published.
    e_0, e, e_n = (p.noise for p in branches(oracle, x, t, [front.unconditional, front, side]))
    d, d_n = e - e_0, e_n - e_0
    published = e_0 + 7.5 * (d - 2.0 * (d_n - (d_n * d).sum() / (d * d).sum() * d))
    assert not torch.allclose(together, published, atol=1e-2)


def test_what_is_taken_away_has_no_part_along_the_prompt(oracle, noisy):
    """So no weight can undo the prompt, where a plain negative condition does."""
    front, side = conditions(oracle, "front", "side")
    e_0, e = (p.noise for p in branches(oracle, *noisy, [front.unconditional, front]))

    def along(made):
        return share_along((made.noise - e_0).flatten(1), (e - e_0).flatten(1))

    for weight in (0.0, -1.0, -50.0):
        made = perp_neg(oracle, *noisy, front, [side], 3.0, [weight])
        assert torch.allclose(along(made), torch.full((6,), 3.0, dtype=torch.float64), atol=1e-8)
    plain = guided(oracle, *noisy, [front, side], [3.0, -3.0])
    assert (along(plain) - 3.0).abs().max() > 0.3


def test_each_picture_may_have_its_own_weights(oracle, noisy):
    front, side = conditions(oracle, "front", "side")
    weights = torch.linspace(-2, 0, 6, dtype=torch.float64)
    scales = torch.linspace(1, 9, 6, dtype=torch.float64)
    together = perp_neg(oracle, *noisy, front, [side], scales, [weights]).noise
    for i in range(6):
        x, t = noisy[0][i : i + 1], noisy[1][i : i + 1]
        alone = perp_neg(oracle, x, t, front, [side], float(scales[i]), [float(weights[i])]).noise
        assert torch.allclose(together[i : i + 1], alone, atol=1e-10)


def test_without_negatives_or_with_the_prompt_itself_as_one_it_is_plain_guidance(oracle, noisy):
    (front,) = conditions(oracle, "front")
    plain = guided(oracle, *noisy, front, 7.5).noise
    assert torch.allclose(perp_neg(oracle, *noisy, front, [], 7.5, []).noise, plain, atol=1e-10)
    assert torch.allclose(perp_neg(oracle, *noisy, front, [front], 7.5, [-3.0]).noise, plain, atol=1e-9)
    unmoved = oracle.condition("front", negative="front")  # d = 0: nothing to be perpendicular to
    assert perp_neg(oracle, *noisy, unmoved, [front], 7.5, [-3.0]).noise.isfinite().all()


def test_weights_and_branches_must_be_there(oracle, noisy):
    front, side = conditions(oracle, "front", "side")
    with pytest.raises(ValueError, match="1 negative prompts need as many weights"):
        perp_neg(oracle, *noisy, front, [side], 7.5, [])
    with pytest.raises(ValueError, match="unconditional branch"):
        perp_neg(oracle, *noisy, front.unconditional, [side], 7.5, [-1.0])
