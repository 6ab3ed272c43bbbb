"""A sentence becomes a scene in stages, each of which goes on from what the one before has made (Magic3D, Lin et al.
2023: a coarse NeRF, then a fine mesh).

A stage is a text-to-3D system of its own, with its own renderer, guidance and cameras; the prior is shared. At the
border the new renderer starts from the old one, and the optimizer begins anew with the new parameters.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from distill3d.diffusion.prior import Prior
from distill3d.guidance import Guidance
from distill3d.renderers import Renderer
from distill3d.systems.base import System, SystemConfig
from distill3d.systems.text_to_3d import DistillationConfig, PromptConfig, TextTo3D


class StageConfig(DistillationConfig):
    """One stage. Its ramps count from its own first step."""

    steps: int = Field(ge=1, le=1_000_000)


class Stages(System):
    """Text to 3D in stages."""

    kind: ClassVar[str] = "stages"
    sections: ClassVar[dict[str, Any]] = {"prior": Prior, "stages": {"renderer": Renderer, "guidance": Guidance}}

    class Config(PromptConfig, SystemConfig):
        """`stages`: each with `steps`, `renderer`, `guidance`, `cameras`, `light`, `background` and `losses`;
        `steps` is their sum and need not be given."""

        steps: int = Field(0, ge=0, le=1_000_000)
        stages: list[StageConfig]

        @field_validator("stages")
        @classmethod
        def _some(cls, stages: list[StageConfig]) -> list[StageConfig]:
            if not stages:
                raise ValueError("there is no stage")
            return stages

        @model_validator(mode="after")
        def _sum(self) -> Stages.Config:
            total = sum(stage.steps for stage in self.stages)
            if self.steps not in (0, total):
                raise ValueError(f"steps is the sum over the stages, {total}: change stages.N.steps instead")
            object.__setattr__(self, "steps", total)
            return self

    stage: Tensor  # the number of the stage that is under way, so that a checkpoint knows it

    def __init__(self, config: Any, device: torch.device, generator: torch.Generator) -> None:
        super().__init__(config, device, generator)
        prior = Prior.build(config.prior, "prior", device=device)
        self._prior = (prior,)  # in a tuple: its weights are no part of this system's state
        self.register_buffer("stage", torch.zeros((), dtype=torch.int64))
        self.current = self._build(0)

    @property
    def renderer(self) -> Renderer:  # type: ignore[override]
        return self.current.renderer

    def parameter_groups(self) -> list[dict[str, Any]]:
        return self.current.parameter_groups()

    def notices(self) -> list[str]:
        return self.current.notices()

    def losses(self, step: int) -> dict[str, Tensor]:
        return self.current.losses(step - self.first_step(int(self.stage)))

    def metrics(self) -> dict[str, float]:
        return {"stage": float(self.stage), **self.current.metrics()}

    def preview(self, step: int) -> dict[str, np.ndarray]:
        return self.current.preview(step)

    def advance(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        due = self.stage_at(step)
        if due != int(self.stage):
            former, self.current = self.current, self._build(due)
            self.current.renderer.start_from(former.renderer)
            self.stage.fill_(due)
            optimizer.param_groups.clear()
            optimizer.state.clear()
            scale = self.config.lr_scale.at(step)
            for group in self.parameter_groups():
                optimizer.add_param_group({**group, "initial_lr": group["lr"], "lr": scale * group["lr"]})
        self.current.advance(step - self.first_step(due), optimizer)

    def load_own_state(self, state: dict[str, Tensor]) -> None:
        stage = int(state["stage"])
        if stage != int(self.stage):
            self.current = self._build(stage)
        super().load_own_state(state)

    def first_step(self, stage: int) -> int:
        """Of the run, at which a stage begins."""
        return sum(s.steps for s in self.config.stages[:stage])

    def stage_at(self, step: int) -> int:
        """The stage that a step belongs to."""
        ends = [self.first_step(i + 1) for i in range(len(self.config.stages))]
        return min(sum(step >= end for end in ends), len(ends) - 1)

    def _build(self, stage: int) -> TextTo3D:
        """The system of a stage, its renderer as it is before it has started from another."""
        outer = {key: getattr(self.config, key) for key in PromptConfig.model_fields}
        config = TextTo3D.Config(**outer, **dict(self.config.stages[stage]))
        return TextTo3D(config, self.device, self.generator, self._prior[0])
