"""Guidance by a classifier: identity with the conditional model, and a classifier learnt from noisy pictures."""

import pytest
import torch

from distill3d.diffusion.classifier_guidance import (
    classifier_guided,
    log_class_gradient,
    noisy_classifier_loss,
    steered,
)
from distill3d.diffusion.ddim import ddim
from distill3d.diffusion.guided import guided
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.schedule_families import rectified_flow
from distill3d.diffusion.timesteps import timesteps
from tests.diffusion.walks import data, denoiser, noise, seeded
from tests.oracles import Oracle


@pytest.fixture
def oracle():
    return Oracle()


@pytest.fixture
def noisy():
    return noise(20), torch.linspace(10, 990, 20).long()


PLUS = torch.zeros(20, dtype=torch.long)


def test_scale_one_on_the_unconditional_model_is_the_conditional_one(oracle, noisy):
    steer = classifier_guided(denoiser(oracle), oracle.log_classes, PLUS, 1.0)(*noisy)
    conditional = denoiser(oracle, "plus")(*noisy)
    assert torch.allclose(steer.noise, conditional.noise, atol=1e-10)
    assert torch.allclose(steer.clean, conditional.clean, atol=1e-9)
    wrong = classifier_guided(denoiser(oracle), oracle.log_classes, 1 - PLUS, 1.0)(*noisy)
    assert not torch.allclose(wrong.noise, conditional.noise, atol=1e-2)


def test_one_label_is_that_of_all_pictures(oracle, noisy):
    one, every = (log_class_gradient(oracle.log_classes, *noisy, labels) for labels in (PLUS[:1], PLUS))
    assert torch.equal(one, every)
    assert every.flatten(1).abs().amax(1).min() > 0
    with pytest.raises(RuntimeError):
        log_class_gradient(oracle.log_classes, *noisy, PLUS[:7])


def test_c4_its_scale_is_the_s_of_guidance_without_a_classifier(oracle, noisy):
    plus = oracle.condition("plus")
    for s in (0.5, 4.0):
        steer = classifier_guided(denoiser(oracle), oracle.log_classes, PLUS, s)(*noisy)
        assert torch.allclose(steer.noise, guided(oracle, *noisy, plus, s).noise, atol=1e-9)
        further = classifier_guided(denoiser(oracle, "plus"), oracle.log_classes, PLUS, s - 1)(*noisy)
        assert torch.allclose(further.noise, steer.noise, atol=1e-9)


def test_no_graph_is_left_and_none_is_needed(oracle, noisy):
    with torch.no_grad():
        gradient = log_class_gradient(oracle.log_classes, *noisy, PLUS)
        assert gradient.abs().max() > 0
    assert not gradient.requires_grad
    assert oracle.means.grad is None


def test_without_signal_there_is_nothing_to_steer_by():
    schedule = NoiseSchedule(*rectified_flow())
    oracle = Oracle(schedule=schedule)
    x, t = noise(2), torch.tensor([999, 500])
    plain = denoiser(oracle)(x, t)
    made = steered(plain, torch.ones_like(x), 3.0)
    assert torch.equal(made.clean[0], plain.clean[0])
    assert torch.equal(made.noise[0], plain.noise[0])
    assert torch.allclose(made.alpha * made.clean + made.sigma * made.noise, x, atol=1e-12)
    assert not torch.allclose(made.noise[1], plain.noise[1], atol=0.1)


class Linear(torch.nn.Module):
    """Logits linear in the picture, with a slope for each of ten stretches of time: enough for two Gaussian classes."""

    def __init__(self):
        super().__init__()
        self.slopes = torch.nn.Embedding(10, 16, dtype=torch.float64)
        torch.nn.init.zeros_(self.slopes.weight)

    def forward(self, x_t, t):
        return torch.einsum("bkn,bn->bk", self.slopes(t // 100).unflatten(1, (2, 8)), x_t.flatten(1))


def test_a_classifier_learnt_from_noisy_pictures_guides(oracle):
    classifier, generator = Linear(), seeded(0)
    optimizer = torch.optim.Adam(classifier.parameters(), 0.05)
    labels = torch.tensor([0, 1]).repeat(64)
    for step in range(150):
        loss = noisy_classifier_loss(oracle.schedule, classifier, data(128, seed=100 + step), labels, generator).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def share(scale):
        denoise = classifier_guided(denoiser(oracle), classifier, torch.zeros(300, dtype=torch.long), scale)
        with torch.no_grad():
            x = ddim(oracle.schedule, denoise, noise(300), timesteps(30))
        return (x.flatten(1).mean(1) > 0).double().mean().item()

    assert share(0.0) < 0.6
    assert share(1.0) > 0.9
    assert share(3.0) > 0.97
