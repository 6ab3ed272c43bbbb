"""The loop of trainings that are fed batches: steps, a line of the log now and then, a save and a gate at times."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from distill3d.toybox.training_state import log_row

LOG_EVERY = 50  # steps


class Trainer(Protocol):
    """What the loop asks of a training: its state, a step, a save, and the numbers that say whether it learns."""

    folder: Path
    settings: Any  # `Budget`
    step: int
    seconds: float

    def load(self) -> None: ...

    def advance(self, batch: Any) -> Tensor: ...

    def save(self) -> None: ...

    def gate(self) -> Any: ...

    def rate(self, step: int) -> float: ...


def train_on(
    trainer: Trainer,
    batches: Callable[[int, int], Iterable[Any]],
    gate: str,
    resume: bool,
    save_minutes: float,
) -> None:
    """Steps over batches until `settings.pictures` have been seen; log to log.jsonl in the training's folder, save and
    measure every `save_minutes` and at the end.

    Args:
        batches: those from one number to another. gate: its name in the log.
        resume: go on from the last save.
    Raises:
        UserError: there is no save to go on from.
    """
    folder, batch = trainer.folder, trainer.settings.batch
    stop = trainer.settings.pictures // batch
    if resume:
        trainer.load()
    folder.mkdir(parents=True, exist_ok=True)
    begun, saved, losses = time.monotonic() - trainer.seconds, time.monotonic(), []

    def say(row: dict[str, Any]) -> None:
        log_row(folder, row)
        print(json.dumps(row), flush=True)

    for examples in batches(trainer.step, stop):
        losses.append(float(trainer.advance(examples).mean()))
        trainer.seconds = time.monotonic() - begun
        seen, done = trainer.step * batch, trainer.step == stop
        if trainer.step % LOG_EVERY == 0 or done:
            row = {"pictures": seen, "loss": round(sum(losses) / len(losses), 5), "seconds": round(trainer.seconds)}
            say(row | {"lr": round(trainer.rate(trainer.step), 6)})
            losses = []
        if time.monotonic() - saved > 60 * save_minutes or done:
            trainer.save()
            say({"pictures": seen, gate: trainer.gate()})
            saved = time.monotonic()
