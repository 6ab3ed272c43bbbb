"""Guidance by a classifier of noisy pictures (Dhariwal and Nichol 2021)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.schedule import NoiseSchedule
from distill3d.diffusion.walk import Denoiser, standard_normal

Classifier = Callable[[Tensor, Tensor], Tensor]  # x_t [B, ...] and t [B] to logits [B, K]


def log_class_gradient(classifier: Classifier, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    """The gradient of log p(label | x_t) with respect to x_t, shaped like it; labels are [B] class numbers, or [1].

    A graph is built through the classifier alone, also inside `no_grad`, and let go.
    """
    with torch.enable_grad():
        seen = x_t.detach().requires_grad_()
        chosen = F.log_softmax(classifier(seen, t), -1).gather(1, labels.expand(len(seen))[:, None])
        (gradient,) = torch.autograd.grad(chosen.sum(), seen)
    return gradient


def steered(prediction: Prediction, gradient: Tensor, scale: float) -> Prediction:
    """The prediction of p(x_t) p(y | x_t)^scale: `e - scale sigma gradient` (their algorithm 2).

    On the unconditional model, scale 1 is the conditional model; so this scale is the s of `guided`, and the w of
    the classifier-free formula counts from one less.

    Args:
        gradient: of log p(y | x_t), shaped like x_t.
    """
    # Where no signal is left there is nothing to tell a class by, and the clean picture's shift would be 0 / 0.
    push = torch.where(prediction.alpha > 0, scale * prediction.sigma, 0.0) * gradient
    shift = prediction.sigma / torch.where(prediction.alpha > 0, prediction.alpha, 1.0) * push
    return prediction.moved(prediction.clean + shift, prediction.noise - push)


def classifier_guided(denoise: Denoiser, classifier: Classifier, labels: Tensor, scale: float) -> Denoiser:
    """A denoiser steered towards `labels` [B]; it can be steered again, or be `guided_denoiser` already."""

    def steered_denoiser(x_t: Tensor, t: Tensor) -> Prediction:
        return steered(denoise(x_t, t), log_class_gradient(classifier, x_t, t, labels), scale)

    return steered_denoiser


def noisy_classifier_loss(
    schedule: NoiseSchedule,
    classifier: Classifier,
    x0: Tensor,
    labels: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Cross entropy on pictures noised at uniform times, [B]: what trains a classifier that can guide.

    A classifier of clean pictures will not do: at high noise its gradient is arbitrary.
    """
    device = x0.device if generator is None else generator.device
    t = torch.randint(len(schedule), (len(x0),), generator=generator, device=device).to(x0.device)
    x_t = schedule.add_noise(x0, standard_normal(x0, generator), t)
    return F.cross_entropy(classifier(x_t, t), labels, reduction="none")
