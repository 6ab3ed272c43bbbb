"""The pictures that a table is made of: made in small batches, each kept on disk, so that a run can stop and go on.

A table says beforehand which cells it needs. What that costs is printed first, in calls of the network for one picture
(two a step under guidance); after each batch, how much is left. With `--keep FOLDER` every batch is a file of its own:
a second run takes what is there, and one that asks for more pictures makes only those. A folder belongs to one prior.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from toys import CannotRun

from distill3d.diffusion.prior import DiffusionPrior
from distill3d.files.atomic import write_bytes, written

BATCH = 16


@dataclass(frozen=True)
class Cell:
    """Pictures of toys 0 to `count`, made one way.

    Args:
        name: of the cell in the table, and with `settings` of its folder.
        count: pictures.
        calls: of the network, for one picture.
        draw: pictures [N, 64, 64, 4] of the toys in a slice, the same whichever others are in it.
        settings: whatever else the pictures depend on.
    """

    name: str
    count: int
    calls: int
    draw: Callable[[slice], Tensor]
    settings: str = ""

    def batches(self) -> list[slice]:
        return [slice(i, min(i + BATCH, self.count)) for i in range(0, self.count, BATCH)]


def made(cells: list[Cell], prior: DiffusionPrior, keep: Path | None) -> Iterator[tuple[str, Tensor]]:
    """Every cell's name and pictures, in their order.

    Raises:
        CannotRun: `keep` holds pictures of another prior.
    """
    if keep is not None:
        _belongs(keep, prior)
    paths = {(i, part.start): _path(keep, cell, part) for i, cell in enumerate(cells) for part in cell.batches()}
    costs = {
        (i, part.start): cell.calls * (part.stop - part.start)
        for i, cell in enumerate(cells)
        for part in cell.batches()
    }
    left = sum(cost for key, cost in costs.items() if not _there(paths[key]))
    print(
        f"cost: {sum(costs.values())} calls of the network for one picture, {left} of them to be made now", flush=True
    )
    spent, seconds = 0, 0.0
    for i, cell in enumerate(cells):
        pictures = []
        for part in cell.batches():
            path, start = paths[i, part.start], time.perf_counter()
            if path is not None and path.exists():
                pictures.append(load_file(path)["pictures"])
                continue
            drawn = cell.draw(part).cpu()
            if path is not None:
                with written(path) as temporary:
                    save_file({"pictures": drawn.contiguous()}, temporary)
            pictures.append(drawn)
            spent, seconds = spent + costs[i, part.start], seconds + time.perf_counter() - start
            rate = seconds / spent
            print(
                f"  {cell.name}: {part.stop} of {cell.count}; {seconds:.0f} s, {1e3 * rate:.1f} ms a call, "
                f"about {rate * (left - spent):.0f} s left",
                file=sys.stderr, flush=True,
            )  # fmt: skip
        yield cell.name, torch.cat(pictures)


def _path(keep: Path | None, cell: Cell, part: slice) -> Path | None:
    folder = " ".join([cell.name, cell.settings]).strip().replace(" ", "_")
    return None if keep is None else keep / folder / f"{part.start:04}-{part.stop:04}.safetensors"


def _there(path: Path | None) -> bool:
    return path is not None and path.exists()


def _belongs(keep: Path, prior: DiffusionPrior) -> None:
    """Marks a new folder as the prior's; refuses another one's."""
    digest = hashlib.sha256()
    for parameter in prior.parameters():
        digest.update(parameter.detach().float().cpu().numpy().tobytes())
    mark, own = keep / "prior.txt", digest.hexdigest()[:16]
    if not mark.exists():
        write_bytes(mark, own.encode())
    elif mark.read_text() != own:
        raise CannotRun(f"{keep} holds pictures of another prior ({mark.read_text()}, this one is {own})")
