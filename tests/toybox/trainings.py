"""What holds of every training that keeps a running average."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from distill3d.toybox.averaged_training import AveragedTraining


def check_resuming(
    started: Callable[..., AveragedTraining],
    steps: Callable[[AveragedTraining, int], AveragedTraining],
    folder: Path,
    files: Sequence[str] = ("training.safetensors",),
) -> Any:
    """Two steps, and one and one more after a save, end with the same bytes in `files`; with another seed they do not.

    Args:
        started: from a folder, and other settings by name, to a training.
    Returns:
        the training that was resumed, in FOLDER/halves.
    """
    steps(started(folder / "whole"), 2).save()
    steps(started(folder / "halves"), 1).save()
    resumed = started(folder / "halves")
    resumed.load()
    assert resumed.step == 1
    steps(resumed, 1).save()
    steps(started(folder / "other", seed=1), 2).save()
    for file in files:
        whole, halves, other = (
            {name: tensor.numpy().tobytes() for name, tensor in load_file(folder / run / file).items()}
            for run in ("whole", "halves", "other")
        )
        assert whole == halves
        assert whole != other
    return resumed
