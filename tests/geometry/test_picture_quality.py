"""PSNR and SSIM against definitions that are written out pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from distill3d.geometry.picture_quality import psnr, ssim


def pictures(seed: int, noise: float = 0.1) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    first = np.kron(rng.random((2, 4, 5, 3)), np.ones((1, 4, 4, 1)))  # flat patches, 16 x 20
    second = np.clip(first + noise * rng.standard_normal(first.shape), 0, 1)
    return torch.from_numpy(first), torch.from_numpy(second)


def written_out(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004, eq. 13, at every place where the window fits, one channel."""
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for i in range(a.shape[0] - 10):
        for j in range(a.shape[1] - 10):
            x, y = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
            mx, my = (window * x).sum(), (window * y).sum()
            vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
            cov = (window * (x - mx) * (y - my)).sum()
            c1, c2 = 0.01**2, 0.03**2
            values.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2)))
    return float(np.mean(values))


def test_ssim_is_the_formula_of_the_paper() -> None:
    first, second = pictures(0)
    found = ssim(first, second)
    for k in range(2):
        expected = np.mean([written_out(first[k, ..., c].numpy(), second[k, ..., c].numpy()) for c in range(3)])
        assert float(found[k]) == pytest.approx(expected, abs=1e-9)


def test_ssim_of_equal_pictures_is_one_and_noise_lowers_it() -> None:
    first, little = pictures(1, 0.02)
    much = pictures(1, 0.2)[1]
    torch.testing.assert_close(ssim(first, first), torch.ones(2, dtype=torch.float64))
    assert (ssim(first, little) > ssim(first, much) + 0.1).all()


def test_ssim_has_the_gradient_of_finite_differences() -> None:
    first, second = (p[:1, :12, :12, :1].clone() for p in pictures(2))
    assert torch.autograd.gradcheck(lambda x: ssim(x, second), first.requires_grad_())


def test_psnr() -> None:
    assert psnr(0.01) == pytest.approx(20)
    assert psnr(torch.tensor(1e-3)) == pytest.approx(30)
    assert psnr(0.0) == pytest.approx(100)
    assert psnr(1.0) == pytest.approx(0)
