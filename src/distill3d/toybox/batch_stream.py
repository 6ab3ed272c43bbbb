"""Batches of a training, made one after the other by their number, by other processes ahead of it where asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils.data import DataLoader, Dataset


class BatchStream(Dataset):
    """Batches `start` to `stop`, for a `DataLoader` with `batch_size=None`. `make`: from a batch's number to it."""

    def __init__(self, make: Callable[[int], Any], start: int, stop: int) -> None:
        self.make, self.start, self.stop = make, start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> Any:
        if index >= len(self):
            raise IndexError(index)
        return self.make(self.start + index)


def batch_stream(make: Callable[[int], Any], start: int, stop: int, workers: int) -> DataLoader:
    """The batches `start` to `stop`.

    Args:
        make: from a batch's number to the batch; with workers it has to be picklable.
        workers: processes that make them ahead of the training (0: they are made in this process).
    """
    return DataLoader(
        BatchStream(make, start, stop),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
    )
