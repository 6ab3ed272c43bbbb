"""A system: which renderer meets which guidance, and what a step of it costs.

The run (`distill3d.run`) knows a system only through this class: it asks for losses, back-propagates their sum,
steps the optimizer, lets the system advance, and writes down what there is to write.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import BaseModel, Field, field_validator
from torch import Tensor, nn

from distill3d.core.component import Component, Config
from distill3d.core.ramp import NumberRampField, Ramp
from distill3d.diffusion.prior import Prior
from distill3d.files.captures import Normalization
from distill3d.renderers.base import Renderer


class OptimizerConfig(Config):
    """Adam or AdamW; learning rates come with the parameter groups."""

    kind: Literal["adam", "adamw"] = "adam"
    betas: tuple[float, float] = (0.9, 0.99)
    eps: float = Field(1e-15, gt=0)
    weight_decay: float = Field(0.0, ge=0)


class ExportConfig(Config):
    """The asset that the run ends with.

    `resolution` of the iso-surface grid along each side, `faces` the budget of triangles, `texture_size` in pixels.
    No `formats` writes no mesh, `turntable_frames: 0` no film; `splats` are the Gaussians themselves, as a 3DGS file.
    """

    resolution: int = Field(128, ge=16, le=512)
    faces: int = Field(40_000, ge=100, le=200_000)
    texture_size: int = Field(1024, ge=64, le=8192)
    smoothing: int = Field(10, ge=0, le=1000)
    formats: tuple[Literal["glb", "obj", "ply", "splats"], ...] = ("glb", "obj", "ply")
    turntable_frames: int = Field(72, ge=0, le=3600)


class SystemConfig(Config):
    """The keys that every run has. A system derives from it and adds its own.

    `lr_scale` multiplies every group's learning rate and may change over the steps. `checkpoint_every` is a number
    of steps, or a time such as "30s"; the last step always writes one. `preview_every: 0` writes no previews.
    """

    seed: int = Field(0, ge=0, lt=2**63)
    steps: int = Field(ge=1, le=1_000_000)
    device: str = "auto"
    threads: int | Literal["auto"] = "auto"
    optimizer: OptimizerConfig = OptimizerConfig()
    lr_scale: NumberRampField = Ramp(1.0)
    log_every: int = Field(10, ge=1)
    preview_every: int = Field(100, ge=0)
    checkpoint_every: int | str = "30s"
    keep_checkpoints: int = Field(2, ge=1)
    export: ExportConfig = ExportConfig()

    @property
    def subject(self) -> str | None:
        """What the run is about: its folder, its asset and its report are called after it."""
        return getattr(self, "prompt", None)

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
            raise ValueError("a device is auto, cpu, cuda or cuda:NUMBER")
        return value

    @field_validator("threads")
    @classmethod
    def _some_threads(cls, value: int | str) -> int | str:
        if value != "auto" and not 1 <= int(value) <= 4096:
            raise ValueError("threads is auto or a number of at least 1")
        return value

    @field_validator("checkpoint_every")
    @classmethod
    def _steps_or_seconds(cls, value: int | str) -> int | str:
        if (isinstance(value, int) and value < 1) or (
            isinstance(value, str) and not re.fullmatch(r"\d+(\.\d+)?s", value)
        ):
            raise ValueError('checkpoint_every is a number of steps of at least 1, or seconds such as "30s"')
        return value


class System(Component, nn.Module):
    """Base of every system: owns the renderer and the guidance, turns a step into losses.

    Args:
        config: this system's `Config`, with its sections already checked.
        device: where parameters and pictures live.
        generator: the run's only source of randomness, seeded from the config.

    `sections` names the keys of the config that hold components (or lists of them) and their families, so that the
    run can check every section before anything is built: `{"renderer": Renderer, "guidance": Guidance}`. Where a key
    holds sections that are no components themselves, a dict says the same of them.
    `begun_by` is the command that begins such a run, where a config alone cannot.
    Every torch.Generator that is an attribute of the system, or of a module in it, is part of a checkpoint.
    """

    family = "system"
    Config: ClassVar[type[BaseModel]] = SystemConfig
    sections: ClassVar[dict[str, Any]] = {}
    begun_by: ClassVar[str | None] = None
    renderer: Renderer

    def __init__(self, config: Any, device: torch.device, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.device = device
        self.generator = generator

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for torch.optim, each with `params`, `lr` and `name`. By default the renderer's."""
        return self.renderer.parameter_groups()

    def losses(self, step: int) -> dict[str, Tensor]:
        """Scalars by name, already weighted: the loop back-propagates their sum and logs each."""
        raise NotImplementedError

    def advance(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Called before the losses of each step: coarse-to-fine, occupancy, densification.

        A resumed run calls it for the step it goes on with, so whatever follows from the step alone needs no saving;
        gradients of the step before are gone then, so statistics of them belong into buffers, filled in backward.
        """
        self.renderer.advance(step, optimizer)

    def metrics(self) -> dict[str, float]:
        """Numbers about the last step that are logged but not optimised."""
        return {}

    def notices(self) -> list[str]:
        """What a person should know before the first step, a line each."""
        return []

    def preview(self, step: int) -> dict[str, np.ndarray]:
        """Pictures by name, uint8 [H, W, 3 or 4]. What it draws from the generators is taken back afterwards."""
        return {}

    def findings(self) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """What the report says at the end: numbers by name, and pictures by name, uint8 [H, W, 3]."""
        return {}, {}

    @property
    def placing(self) -> Normalization | None:
        """How what is optimised was moved into the unit ball, which written files undo; None where nothing moved."""
        return None

    @property
    def before(self) -> Renderer | None:
        """The scene as it was, which is filmed beside what has become of it; None where a run begins with nothing."""
        return None

    @property
    def further(self) -> dict[str, Renderer]:
        """Scenes that the run ends with beside `renderer`, by the names of the folders that their assets go into."""
        return {}

    def extra_state(self) -> dict[str, Any]:
        """What a checkpoint needs and `state_dict` lacks: nested dicts and lists of tensors, numbers, strings."""
        return {}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Takes back what `extra_state` gave."""

    def generators(self) -> dict[str, torch.Generator]:
        """The generators by dotted name, each once."""
        found: dict[int, tuple[str, torch.Generator]] = {}
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, torch.Generator) and id(value) not in found:
                    found[id(value)] = (f"{prefix}.{name}".strip("."), value)
        return dict(found.values())

    def own_state(self) -> dict[str, Tensor]:
        """`state_dict` without the weights of a diffusion prior, which come from its own folder."""
        priors = self._prior_prefixes()
        return {name: value for name, value in self.state_dict().items() if not name.startswith(priors)}

    def load_own_state(self, state: dict[str, Tensor]) -> None:
        """Takes back what `own_state` gave; a missing or unexpected name is a RuntimeError."""
        missing, unexpected = self.load_state_dict(state, strict=False)
        missing = [name for name in missing if not name.startswith(self._prior_prefixes())]
        if missing or unexpected:
            raise RuntimeError(f"the checkpoint is of another system: missing {missing}, unexpected {unexpected}")

    def _prior_prefixes(self) -> tuple[str, ...]:
        modules = self.named_modules(remove_duplicate=False)
        return tuple(f"{name}." for name, module in modules if isinstance(module, Prior))
