"""The state of a training that keeps a running average of its network: a step, a save, and going on from it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from distill3d.toybox.training_state import falling_rate, load_state, save_state

Network = TypeVar("Network", bound=nn.Module)


class Budget(Protocol):
    """How long and how fast: the settings that every such training has.

    Attributes:
        pictures: that the learning rate falls over, `batch` of them a step. warmup: steps.
        decay_from: share of the budget after which the learning rate falls linearly to 2 % of itself.
        weight_decay: of AdamW. ema: share of itself that the running average keeps, a step.
    """

    @property
    def pictures(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def lr(self) -> float: ...
    @property
    def warmup(self) -> int: ...
    @property
    def decay_from(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def ema(self) -> float: ...


class AveragedTraining(ABC, Generic[Network]):
    """A network that learns, its running average, the optimiser and the step.

    Args:
        folder: where it is saved. settings: a dataclass with a `Budget`.
        network, average: of the same weights, on the device. groups: parameters of the network for the optimiser, a
            dictionary with their `scale` of the learning rate each; all of them at 1 by default.
    """

    name: ClassVar[str]  # of the network in what is saved

    def __init__(
        self,
        folder: Path,
        settings: Any,
        device: str,
        network: Network,
        average: Network,
        groups: Sequence[dict[str, Any]] | None = None,
    ) -> None:
        self.folder, self.settings, self.device = folder, settings, device
        self.network, self.average = network, average.requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            list(groups or [{"params": list(network.parameters())}]),
            settings.lr,
            betas=(0.9, 0.98),
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.step, self.seconds = 0, 0.0

    @abstractmethod
    def loss(self, batch: Any) -> Tensor:
        """Each picture's loss, [B], at this step's times, noise and whatever is dropped."""

    @abstractmethod
    def save_model(self) -> None:
        """Write what the running average is good for below `folder`."""

    def rate(self, step: int) -> float:
        """The learning rate: warm up, hold, fall linearly."""
        return learning_rate(self.settings, step)

    def advance(self, batch: Any) -> Tensor:
        """One step of the optimiser and of the running average; returns the losses."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(self.step) * group.get("scale", 1.0)
        losses = self.loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        losses.mean().backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        keep = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - keep)
        return losses.detach()

    def save(self) -> None:
        """Everything that resuming needs, under a temporary name first; then the model."""
        numbers = {"step": self.step, "seconds": round(self.seconds, 1)}
        save_state(self.folder, self.networks(), self.optimizer, numbers)
        state = {"settings": asdict(self.settings), **numbers}
        (self.folder / "training.json").write_text(json.dumps(state, indent=2) + "\n")
        self.save_model()

    def load(self) -> None:
        """Go on from the last `save`.

        Raises:
            UserError: there is none.
        """
        numbers = load_state(self.folder, self.networks(), self.optimizer)
        self.step, self.seconds = int(numbers["step"]), numbers["seconds"]

    def networks(self) -> dict[str, nn.Module]:
        return {self.name: self.network, "average": self.average}


def learning_rate(settings: Budget, step: int) -> float:
    """The learning rate at a step: warm up, hold, fall linearly."""
    return settings.lr * falling_rate(step, settings.pictures / settings.batch, settings.warmup, settings.decay_from)
