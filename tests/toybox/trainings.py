"""What holds of every training."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file


def check_resuming(
    started: Callable[..., Any],
    steps: Callable[[Any, int], Any],
    folder: Path,
    files: Sequence[str] = ("training.safetensors",),
    half: int = 1,
) -> Any:
    """Twice `half` steps end with the same bytes in `files`, also when stopped half-way, saved and gone on with; with
    another seed they do not.

    Args:
        started: from a folder, and other settings by name, to a training.
    Returns:
        the training that was resumed, in FOLDER/halves.
    """
    steps(started(folder / "whole"), 2 * half).save()
    steps(started(folder / "halves"), half).save()
    resumed = started(folder / "halves")
    resumed.load()
    assert resumed.step == half
    steps(resumed, half).save()
    steps(started(folder / "other", seed=1), 2 * half).save()
    for file in files:
        whole, halves, other = (
            {name: tensor.numpy().tobytes() for name, tensor in load_file(folder / run / file).items()}
            for run in ("whole", "halves", "other")
        )
        assert whole == halves
        assert whole != other
    return resumed
