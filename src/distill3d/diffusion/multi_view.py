"""Priors that denoise several views of one thing together."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

import distill3d
from distill3d.core.errors import UserError
from distill3d.diffusion.aliases import TOYBOX
from distill3d.diffusion.condition import Condition
from distill3d.diffusion.joint_attention import see_together, self_attention
from distill3d.diffusion.joint_canvas import load_attention
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.tensor_file import TensorFile

EMBEDDED_ATTENTION = Path(distill3d.__file__).parent / "toybox" / "multi_view_weights" / "attention.safetensors"


class MultiViewPrior(DiffusionPrior):
    """A 2D prior whose views see each other, as MVDream's do (Shi et al. 2024).

    Pictures come in groups of `together`, one after the other: views of one thing at one noise level, from cameras at
    equal distances in azimuth.
    """

    kind: ClassVar[str] = "multi_view"

    class Config(DiffusionPrior.Config):
        """As for `diffusion`, and mvdream as `model`; `views`: how many see each other; `attention`: a .safetensors
        file of attention that was trained for it, where `model` was not: the network's own self-attention, or the
        attention before it that `toybox train-multi-view` makes. toybox has one in the package, taken by default; none
        makes the self-attention joint as it is. `heard_from`: the noise level, a share of the schedule, from which the
        attention before the network is heard; below it a view itself may say more."""

        views: int = Field(4, ge=2, le=16)
        attention: str | None = None
        heard_from: float = Field(0.0, ge=0, le=1)

    def __init__(self, config: Any = None, device: torch.device | str = "cpu") -> None:
        config = config or self.Config()
        super().__init__(config, device)
        self.together, self.heard_from = config.views, float(config.heard_from)
        if not self.sees_cameras:
            raise UserError(f"the prior {config.model!r} takes no camera: its views cannot be told apart")
        path = attention_file(config)
        self.joint_canvas = None if path is None else load_attention(path, self.canvas, self.device, self.unet.dtype)
        if self.joint_canvas is not None:
            return
        if path is not None:
            put_attention(self.unet, path)
        see_together(self.unet, self.together)

    @classmethod
    def examine(cls, config: Any) -> None:
        super().examine(config)
        path = attention_file(config)
        if path is not None:
            TensorFile(path)

    def _paint(self, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        canvas = super()._paint(x_t, t, labels)
        heard = t >= self.schedule.fraction(self.heard_from)  # the same for all views of a group
        if self.joint_canvas is None or not heard.any():
            return canvas
        alpha, sigma = (v.to(canvas) for v in self.schedule.at(t, x_t))
        told = (v[heard] for v in (x_t.to(canvas), canvas, labels, alpha, sigma))
        return canvas.index_put((heard,), self.joint_canvas(*told, self.together))

    def denoise(self, x_t: Tensor, t: Tensor, condition: Condition, canvas: Tensor | None = None) -> Prediction:
        if len(x_t) % self.together:
            raise UserError(f"{len(x_t)} views a step for a prior that sees {self.together} together: give a multiple")
        return super().denoise(x_t, t, condition, canvas)


def attention_file(config: Any) -> Path | None:
    """The file of `prior.attention`; by default the package's own for the embedded prior, and none for other models.

    Raises:
        UserError: it is not there.
    """
    if config.attention is None:
        return EMBEDDED_ATTENTION if config.model == TOYBOX else None
    if config.attention == "none":
        return None
    path = Path(config.attention).expanduser()
    if not path.is_file():
        raise UserError(f"prior.attention {config.attention}: no such file")
    return path


def put_attention(unet: Any, path: Path) -> None:
    """Replaces the self-attention of a network by that in a file.

    Raises:
        UserError: the file is damaged, or is of another network.
    """
    file, wanted = TensorFile(path), self_attention(unet)
    if set(file.shapes) != set(wanted) or any(tuple(file.shapes[k]) != tuple(p.shape) for k, p in wanted.items()):
        raise UserError(f"{path}: this is not the self-attention of the prior's network")
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(file.tensor(name))
