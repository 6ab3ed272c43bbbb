"""Part Gaussians: frames, covariances, densities, and what moving and reflecting do."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from distill3d.parts.gaussians import SIZE, SMALLEST, PartGaussians, orthonormal
from distill3d.parts.moving import turn


def random_gaussians(*shape: int, seed: int = 0) -> PartGaussians:
    return PartGaussians.from_raw(torch.randn(*shape, SIZE, generator=torch.Generator().manual_seed(seed)) * 0.5)


def off_orthonormal(rows: torch.Tensor) -> float:
    return float((rows @ rows.mT - torch.eye(3)).abs().max())


def test_gram_schmidt_is_orthonormal_and_keeps_what_it_is_given():
    rows = torch.randn(1000, 3, 3, generator=torch.Generator().manual_seed(0))
    made = orthonormal(rows)
    assert off_orthonormal(made) < 1e-6
    assert off_orthonormal(rows) > 1  # control
    assert torch.allclose(made[:, 0], rows[:, 0] / rows[:, 0].norm(dim=-1, keepdim=True), atol=1e-6)
    assert torch.equal(made.det().sign(), rows.det().sign())  # reflections stay reflections
    assert torch.allclose(orthonormal(made), made, atol=1e-6)


@pytest.mark.parametrize(
    "rows",
    [
        [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[1, 2, 3], [2, 4, 6], [-1, -2, -3]],
        [[1, 2, 3], [1, 2, 3 + 1e-6], [0, 0, 1]],
        [[0, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0, 0, 1e-20], [1, 0, 0], [1, 0, 0]],
        [[1, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[1e4, 1e4, 1e4], [1e4, 1e4, 1e4 + 1], [1, 0, 0]],
    ],
)
def test_rows_that_depend_on_each_other_are_completed(rows):
    assert off_orthonormal(orthonormal(torch.tensor(rows, dtype=torch.float32))) < 1e-6


def test_covariances_and_their_inverses_are_of_one_eigensystem():
    gaussians = random_gaussians(2, 5)
    axes, values = gaussians.axes.double(), gaussians.eigenvalues.double()
    inverse = axes.mT @ ((1 / values)[..., None] * axes)  # E^T diag(1 / lambda) E
    product = inverse @ gaussians.covariances.double()
    assert float((product - torch.eye(3)).abs().max()) < 1e-3  # of condition numbers up to 1e4, in float32
    values_too, _ = torch.linalg.eigh(gaussians.covariances.double())
    assert torch.allclose(values_too, values.sort(-1).values, rtol=1e-3, atol=1e-6)
    assert float((inverse.mT @ axes.mT).sub(axes.mT).abs().max()) > 1  # control: it is not the identity itself


def test_likelihoods_are_those_of_torch():
    gaussians = random_gaussians(3, 4, seed=1)
    points = torch.randn(3, 50, 3, generator=torch.Generator().manual_seed(2))
    reference = MixtureSameFamily(
        Categorical(logits=gaussians.logits.double()),
        MultivariateNormal(gaussians.means.double(), gaussians.covariances.double()),
    )
    expected = reference.log_prob(points.double().transpose(0, 1)).T
    got = gaussians.log_likelihood(points).double()
    assert float(((got - expected) / expected.abs().clamp(min=1)).abs().max()) < 1e-3
    other = PartGaussians(gaussians.means, gaussians.axes.mT, gaussians.eigenvalues, gaussians.logits)
    assert float((other.log_likelihood(points).double() - expected).abs().max()) > 1  # control: columns for rows


def test_points_belong_to_the_part_most_likely_to_have_made_them():
    gaussians = random_gaussians(6, seed=3)
    points = torch.randn(40, 3, generator=torch.Generator().manual_seed(4))
    own = [
        MultivariateNormal(gaussians.means[j].double(), gaussians.covariances[j].double()).log_prob(points.double())
        + gaussians.logits[j].double()
        for j in range(6)
    ]
    assert torch.equal(gaussians.assign(points), torch.stack(own, -1).argmax(-1))
    assert len(gaussians.assign(points).unique()) > 2


def test_vectors_come_back():
    gaussians = random_gaussians(2, 7, seed=5)
    big = gaussians.eigenvalues.clamp(2 * SMALLEST, 0.9)
    gaussians = PartGaussians(gaussians.means, gaussians.axes, big, gaussians.logits)
    again = PartGaussians.from_vectors(gaussians.vectors())
    for name in ("means", "axes", "eigenvalues"):
        assert torch.allclose(getattr(again, name), getattr(gaussians, name), atol=1e-6), name
    assert torch.allclose(again.logits.softmax(-1), gaussians.logits.softmax(-1), atol=1e-6)
    assert float(gaussians.vectors()[..., 12].mean(-1).abs().max()) < 1e-6  # logits about 0


def test_any_numbers_make_gaussians():
    wild = PartGaussians.from_vectors(100 * torch.randn(50, SIZE, generator=torch.Generator().manual_seed(6)))
    assert off_orthonormal(wild.axes) < 1e-6
    assert float(wild.eigenvalues.min()) >= SMALLEST * 0.999
    assert float(wild.eigenvalues.max()) <= 1.0


def test_reflecting_twice_is_nothing_and_once_is_not():
    gaussians = random_gaussians(5, seed=7)
    once, twice = gaussians.reflected(), gaussians.reflected().reflected()
    for name in ("means", "axes", "eigenvalues", "logits"):
        assert torch.equal(getattr(twice, name), getattr(gaussians, name))
    points = torch.randn(30, 3, generator=torch.Generator().manual_seed(8))
    mirrored = points * torch.tensor([1.0, -1.0, 1.0])
    assert torch.allclose(once.log_likelihood(mirrored), gaussians.log_likelihood(points), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(once.log_likelihood(points), gaussians.log_likelihood(points), atol=0.1)


def test_a_moved_gaussian_is_as_likely_at_moved_points():
    gaussians = random_gaussians(1, seed=9)
    rotation, scale, shift = turn("x", 40) @ turn("z", 70), torch.tensor(1.7), torch.tensor([0.2, -0.1, 0.4])
    moved = gaussians.moved(rotation, scale, shift, torch.tensor([True]))
    points = torch.randn(30, 3, generator=torch.Generator().manual_seed(10))
    there = scale * points @ rotation.T + shift
    expected = gaussians.log_likelihood(points) - 3 * math.log(1.7)
    assert torch.allclose(moved.log_likelihood(there), expected, rtol=1e-3, atol=1e-3)
    still = gaussians.moved(rotation, scale, shift, torch.tensor([False]))
    assert torch.equal(still.means, gaussians.means)
    assert torch.equal(still.axes, gaussians.axes)


def test_joined_and_parted_again():
    first, second = random_gaussians(3, seed=11), random_gaussians(2, seed=12)
    both = first.joined(second)
    assert torch.equal(both.only(torch.tensor([3, 4])).means, second.means)
    assert torch.equal(both.only(torch.tensor([True, True, True, False, False])).axes, first.axes)
    assert not torch.equal(both.only(torch.tensor([0, 1])).means, second.means)
