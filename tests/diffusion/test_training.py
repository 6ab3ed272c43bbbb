"""Algorithm 1 on data whose best denoiser is known."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.schedule_families import linear_betas, rectified_flow
from distill3d.diffusion.training import denoising_loss, loss_weight, train
from tests.diffusion.walks import noise, rms, seeded
from tests.oracles import STABLE_DIFFUSION, Oracle

KINDS = {"noise": "simple", "clean": "clean", "velocity": "velocity", "flow": "flow"}
SCHEDULE = NoiseSchedule.from_config(STABLE_DIFFUSION)


def test_every_prediction_can_be_weighted_as_every_other():
    """The loss of one prediction under a weighting is the loss of any other under it: the errors are the same."""
    t = torch.arange(1000)
    x0, e = noise(1000, 1), noise(1000, 2)
    guess = noise(1000, 3)
    alpha, sigma = SCHEDULE.at(t, x0)
    truth = Prediction(alpha * x0 + sigma * e, alpha, sigma, x0, e)
    seen = Prediction.of("clean", guess, truth.x_t, alpha, sigma)
    for weighting in (*KINDS.values(), "min-snr"):
        losses = torch.stack(
            [
                loss_weight(SCHEDULE, t, weighting, kind)
                * (getattr(seen, kind) - getattr(truth, kind)).square().flatten(1).mean(1)
                for kind in KINDS
            ]
        )
        assert torch.allclose(losses, losses[:1].expand(4, -1), rtol=1e-8)
    for kind, own in KINDS.items():
        assert torch.equal(loss_weight(SCHEDULE, t, own, kind), torch.ones(1000, dtype=torch.float64))
        assert not torch.allclose(loss_weight(SCHEDULE, t, "min-snr", kind), torch.ones(1000, dtype=torch.float64))


def test_c_t_is_what_the_table_says():
    t = torch.tensor([10, 500, 990])
    snr = SCHEDULE.snr(t)
    assert torch.allclose(loss_weight(SCHEDULE, t, "clean", "noise"), 1 / snr)
    assert torch.allclose(loss_weight(SCHEDULE, t, "velocity", "noise"), 1 + 1 / snr)
    assert torch.allclose(loss_weight(SCHEDULE, t, "min-snr", "noise"), snr.clamp(max=5) / snr)
    with pytest.raises(ValueError, match="unknown weighting 'p2'"):
        loss_weight(SCHEDULE, t, "p2", "clean")


def test_weights_are_finite_without_signal():
    flow = NoiseSchedule(*rectified_flow())
    for kind in ("clean", "velocity", "flow"):
        for weighting in (*KINDS.values(), "min-snr"):
            assert loss_weight(flow, torch.tensor([999]), weighting, kind).isfinite().all()


def test_the_loss_of_the_best_denoiser_is_that_of_its_posterior():
    """For one Gaussian class the least error of the clean picture is v sigma^2 / (alpha^2 v + sigma^2)."""
    oracle = Oracle()
    x0 = 1 + 0.5 * noise(4000)
    plus = oracle.condition("plus")
    with torch.no_grad():
        loss, t = denoising_loss(
            oracle.schedule,
            lambda x, time, condition: oracle.denoise(x, time, condition).clean,
            x0,
            plus,
            "clean",
            "clean",
            generator=seeded(0),
        )
    alpha, sigma = (c.flatten() for c in oracle.schedule.at(t, x0))
    least = 0.25 * sigma**2 / (alpha**2 * 0.25 + sigma**2)
    assert abs((loss / least).mean() - 1) < 0.03
    assert abs(t.double().mean() - 499.5) < 15


class Small(nn.Module):
    """Three layers over the picture, sines of the time, and the class (0: not told)."""

    def __init__(self, width=96):
        super().__init__()
        self.told = nn.Embedding(3, width)
        self.into = nn.Linear(8 + 8, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.out = nn.Linear(width, 8)

    def forward(self, x_t, t, labels):
        angles = t[:, None].float() / 1000 * torch.tensor([1.0, 2.0, 4.0, 8.0]) * torch.pi / 2
        x = self.into(torch.cat([x_t.flatten(1), angles.sin(), angles.cos()], 1)) + self.told(labels)
        for layer in self.layers:
            x = x + layer(nn.functional.silu(x))
        return self.out(nn.functional.silu(x)).view_as(x_t)


@pytest.fixture(scope="module")
def learnt():
    """A network trained on the oracle's two classes, its running average, and its losses by time."""
    torch.manual_seed(0)
    network, generator = Small(), seeded(0)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    seen = []

    def batches(count=600, size=256):
        for _ in range(count):
            labels = torch.randint(2, (size,), generator=generator)
            x0 = (1 - 2 * labels).reshape(-1, 1, 1, 1) + 0.5 * torch.randn(size, 2, 2, 2, generator=generator)
            keep = torch.rand(size, generator=generator) >= 0.1
            yield x0.float(), (labels + 1) * keep

    train(
        SCHEDULE,
        network,
        batches(),
        optimizer,
        average=average,
        generator=generator,
        callback=lambda step, losses, t: seen.append((step, losses, t)),
    )
    return network, average, seen


def test_training_meets_the_best_denoiser(learnt):
    _, average, _ = learnt
    oracle = Oracle(schedule=SCHEDULE)
    for labels, prompt in ((1, "plus"), (2, "minus"), (0, "")):
        for time in (100, 500, 900):
            x0 = (1 - 2 * torch.tensor([0, 1]).repeat(200)) if labels == 0 else torch.full((400,), 3 - 2 * labels)
            x_t = SCHEDULE.add_noise(
                x0.reshape(-1, 1, 1, 1) + 0.5 * noise(400), noise(400, 1), torch.full((400,), time)
            )
            t = torch.full((400,), time)
            with torch.no_grad():
                said = average(x_t.float(), t, torch.full((400,), labels)).double()
                best = oracle.denoise(x_t, t, oracle.condition(prompt)).noise
                wrong = oracle.denoise(x_t, t, oracle.condition("minus" if labels == 1 else "plus")).noise
            assert torch.corrcoef(torch.stack([said.flatten(), best.flatten()]))[0, 1] > 0.98
            assert rms(said - best) < rms(said - wrong)


def test_the_loss_falls_below_saying_nothing_and_is_highest_at_little_noise(learnt):
    _, _, seen = learnt
    late = seen[-150:]
    losses, t = torch.cat([s[1] for s in late]), torch.cat([s[2] for s in late])
    low, middle, high = (losses[(t >= a) & (t < b)].mean().item() for a, b in ((0, 100), (450, 550), (900, 1000)))
    assert low > middle > high
    assert middle < 0.4  # saying nothing costs 1
    assert [s[0] for s in seen] == list(range(600))


def test_the_average_is_not_the_network(learnt):
    network, average, _ = learnt
    pairs = list(zip(network.parameters(), average.module.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in pairs)
    assert all((a - b).abs().max() < 0.3 for a, b in pairs)


def test_the_same_seed_trains_the_same_bits():
    def weights(seed):
        torch.manual_seed(0)
        network = Small(16)
        optimizer = torch.optim.SGD(network.parameters(), 0.1)
        batch = [(noise(16).float(), torch.ones(16, dtype=torch.long))] * 5
        train(SCHEDULE, network, batch, optimizer, "velocity", "min-snr", generator=seeded(seed))
        return network.out.weight.detach()

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_only_what_is_counted_makes_the_loss():
    schedule = NoiseSchedule.from_betas(linear_betas(100, 1e-3, 0.05))
    x0, counted = torch.randn(3, 4, 2), torch.tensor([[True], [False], [True], [False]])

    def loss(network, which):
        return denoising_loss(schedule, network, x0, generator=torch.Generator().manual_seed(0), counted=which)[0]

    def wrong_where_not_counted(x_t, t, condition):
        alpha, sigma = schedule.at(t, x0)
        return torch.where(counted, (x_t - alpha * x0) / sigma, 7.0)

    assert float(loss(wrong_where_not_counted, counted).max()) < 1e-8
    assert float(loss(wrong_where_not_counted, None).min()) > 1.0  # control
    silent = loss(lambda x_t, t, condition: torch.zeros_like(x_t), None)
    everything = loss(lambda x_t, t, condition: torch.zeros_like(x_t), torch.ones(1, dtype=torch.bool))
    assert torch.allclose(silent, everything)
    assert float(loss(wrong_where_not_counted, torch.zeros(1, dtype=torch.bool)).abs().max()) == 0.0
