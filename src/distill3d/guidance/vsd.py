"""Variational score distillation (Wang et al. 2023, "ProlificDreamer")."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from distill3d.core.ramp import NumberRampField, Ramp
from distill3d.diffusion.guided import guided
from distill3d.diffusion.perp_neg import turned
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.sampling import standard_normal
from distill3d.diffusion.view import VIEW_SIZE, view_vector
from distill3d.guidance.adapters import ATTENTION, CONVOLUTIONS, Adapters
from distill3d.guidance.distillation import Distillation, Sight
from distill3d.guidance.weighting import Weighting, difference

LEAST_VARIANCE = 0.1  # sigma^2 below which the weight of a clean picture's error, 1 / sigma^2, grows no more


def vsd(pretrained: Prediction, opinion: Prediction, weighting: Weighting = "sds") -> Tensor:
    """Gradient of variational score distillation with respect to x: `w(t) (e_pretrained - e_phi)` (eq. 9).

    SDS with the noise replaced by what a network that knows the present renderings predicts at the same x_t. It is
    zero where that network is the pretrained one, and SDS where it has learnt a single picture perfectly, since then
    e_phi is the noise that was added.

    Args:
        pretrained: with guidance. opinion: of the network that learns, without.
    Returns:
        [B, c, h, w].
    """
    return difference(pretrained, opinion, weighting)


def opinion_loss(prediction: Prediction, x: Tensor, noise: Tensor, predicts: str) -> Tensor:
    """What the learning network minimises: the squared error of the quantity that it predicts, summed over a picture
    (eq. 10; ProlificDreamer's own network predicts velocities).

    Args:
        prediction: at x_t of `x` [B, c, h, w] under `noise`; `x` carries no graph.
        predicts: noise, velocity or clean; the last is weighed by 1 / sigma^2, as a velocity would be.
    """
    if predicts == "clean":
        error = (prediction.clean - x).square() / prediction.sigma.square().clamp(min=LEAST_VARIANCE)
    elif predicts == "velocity":
        error = (prediction.velocity - (prediction.alpha * noise - prediction.sigma * x)).square()
    else:
        error = (prediction.noise - noise).square()
    return error.sum() / len(x)


class VSD(Distillation):
    """ProlificDreamer's guidance: the prior, and a LoRA of it that follows the renderings and knows the camera."""

    kind: ClassVar[str] = "vsd"

    class Config(Distillation.Config):
        """As for every distillation; `cfg_scale` of the pretrained prior; `rank`, `lr` of the LoRA, and
        `opinion_weight` of its loss; `adapt`: the layers that it changes, attention as published, or all, the
        convolutions too; `camera_dropout`: share of its training without a camera."""

        cfg_scale: NumberRampField = Ramp(7.5)
        weighting: Weighting = "sds"
        rank: int = Field(4, ge=1, le=256)
        lr: float = Field(1e-4, gt=0)
        adapt: Literal["attention", "all"] = "attention"
        opinion_weight: float = Field(1.0, gt=0)
        camera_dropout: float = Field(0.1, ge=0, le=1)

    def __init__(self, config: Any = None, *, prior: DiffusionPrior, **context: Any) -> None:
        super().__init__(config, prior=prior, **context)
        targets = ATTENTION if self.config.adapt == "attention" else (*ATTENTION, *CONVOLUTIONS)
        self.adapters = Adapters(prior.unet, self.config.rank, VIEW_SIZE, seed=0, targets=targets)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"name": "vsd", "params": list(self.adapters.parameters()), "lr": self.config.lr}]

    def gradient(self, sight: Sight) -> tuple[Tensor, Prediction]:
        prior, config = self.prior, self.config
        x_t = prior.schedule.add_noise(sight.x, sight.noise, sight.t)
        scale = config.cfg_scale.at(sight.step)
        pretrained = turned(prior, x_t, sight.t, sight.condition, scale, sight.negatives)
        with self.adapters.awake(view_vector(sight.cameras, sight.light).to(x_t.device)):
            opinion = guided(prior, x_t, sight.t, sight.condition, 1.0)
        if config.clip:
            pretrained, opinion = (p.clipped(prior.clip_range) for p in (pretrained, opinion))
        return vsd(pretrained, opinion, config.weighting), pretrained

    def lesson(self, sight: Sight) -> Tensor:
        """The LoRA's loss on the present renderings, at fresh times of the whole schedule and under fresh noise."""
        prior, generator, x = self.prior, self.generator, sight.x
        t = torch.randint(0, len(prior.schedule), (len(x),), generator=generator, device=generator.device).to(x.device)
        noise = standard_normal(x, generator)
        told = torch.rand(len(x), 1, generator=generator, device=generator.device) >= self.config.camera_dropout
        with self.adapters.awake(view_vector(sight.cameras, sight.light).to(x.device) * told.to(x)):
            prediction = guided(prior, prior.schedule.add_noise(x, noise, t), t, sight.condition, 1.0)
        loss = opinion_loss(prediction, x, noise, getattr(prior, "predicts", "noise"))
        return self.config.opinion_weight * loss
