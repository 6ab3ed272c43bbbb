"""What the tests of samplers start from: the oracle's denoisers, seeded noise, and the exact answer."""

import torch

from tests.oracles import Oracle


def denoiser(oracle: Oracle, prompt: str = ""):
    condition = oracle.condition(prompt)
    return lambda x, t: oracle.denoise(x, t, condition)


def noise(batch: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, 2, 2, 2, dtype=torch.float64, generator=seeded(seed))


def data(batch: int, seed: int = 7) -> torch.Tensor:
    """Clean pictures of the oracle's two classes in turn."""
    side = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(batch // 2).reshape(-1, 1, 1, 1)
    return side + 0.5 * noise(batch, seed)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flowed(oracle: Oracle, x: torch.Tensor, t: int, s: int) -> torch.Tensor:
    """Where the probability-flow ODE of the class "plus" alone takes x from t to s: its mean and spread are linear."""
    (a, b), (c, d) = (oracle.schedule.at(torch.full((len(x),), time), x) for time in (t, s))
    mean, variance = oracle.means[0].detach(), oracle.variance
    spread = ((c**2 * variance + d**2) / (a**2 * variance + b**2)).sqrt()
    return c * mean + spread * (x - a * mean)


def rms(x: torch.Tensor) -> float:
    return x.detach().square().mean().sqrt().item()
