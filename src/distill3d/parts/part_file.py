"""A shape of parts on disk: safetensors with means, axes, eigenvalues, logits and intrinsics, all float32."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor

from distill3d.core.errors import UserError
from distill3d.files.atomic import write_bytes
from distill3d.parts.gaussians import PartGaussians
from distill3d.parts.parts import Parts

MOST_BYTES = 1 << 24
MOST_PARTS = 256
MOST_NUMBERS = 4096  # of what a part holds
FORMAT = {"distill3d": "parts 1"}  # one entry of metadata: the writer keeps no order among several
SHAPES: dict[str, tuple[int, ...]] = {"means": (3,), "axes": (3, 3), "eigenvalues": (3,), "logits": ()}  # after [P]
FURTHEST = 10.0  # world units, of a mean
EIGENVALUES = (1e-8, 100.0)  # a thickness of 0.0001 to 10: anything else is no part of a shape in the unit ball
SKEW = 1e-3  # how far the axes may be from orthonormal, in any product of two


class _Bad(Exception):
    """What is wrong with a file, without its name."""


def write_parts(shape: Parts, path: Path) -> None:
    """Writes one shape, whole or not at all; reading it gives the same bits, and equal shapes give equal bytes.

    Raises:
        UserError: it cannot be written, or a Gaussian of it is degenerate or far away.
    """
    tensors = {**vars(shape.gaussians), "intrinsics": shape.intrinsics}
    plain = {name: tensor.detach().cpu().float().contiguous().clone() for name, tensor in tensors.items()}
    try:
        _checked(plain)
    except _Bad as fault:
        raise UserError(f"{path.name} is not written: {fault}") from fault
    write_bytes(path, save(plain, FORMAT))


def read_parts(path: str | Path) -> Parts:
    """Reads what `write_parts` wrote.

    Raises:
        UserError: no such file, or it is damaged, of another kind, or its Gaussians are degenerate; in one line.
    """
    path = Path(path)
    try:
        return _checked(_tensors(path))
    except _Bad as fault:
        raise UserError(f"{path}: {fault}") from fault


def _tensors(path: Path) -> dict[str, Tensor]:
    """Name to tensor, after a look at the header: nothing large is read on its word."""
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise _Bad(f"{size:,} bytes are too many for a shape of parts ({MOST_BYTES:,} are the most)")
        data = path.read_bytes()
    except OSError as error:
        raise _Bad(f"it cannot be read ({error.strerror or error})") from error
    try:
        length = struct.unpack("<Q", data[:8])[0]
        noted = json.loads(data[8 : 8 + length]).get("__metadata__", {})
        tensors = load(data)
    except Exception as error:  # whatever the format's readers meet
        raise _Bad("it is truncated or not safetensors") from error
    if noted != FORMAT or set(tensors) != {*SHAPES, "intrinsics"}:
        raise _Bad("it holds tensors, but not a shape of parts as `distill3d parts` writes it")
    return tensors


def _checked(tensors: dict[str, Tensor]) -> Parts:
    intrinsics = tensors["intrinsics"]
    if intrinsics.dim() != 2 or not 1 <= intrinsics.shape[1] <= MOST_NUMBERS:
        raise _Bad(f"its intrinsics are {list(intrinsics.shape)}, not [parts, 1 to {MOST_NUMBERS}]")
    count = len(intrinsics)
    if not 1 <= count <= MOST_PARTS:
        raise _Bad(f"it has {count} parts; 1 to {MOST_PARTS} make a shape")
    for name, tensor in tensors.items():
        wanted = (count, *SHAPES.get(name, intrinsics.shape[1:]))
        if tuple(tensor.shape) != wanted:
            raise _Bad(f"its {name} are {list(tensor.shape)}, not {list(wanted)}")
        if tensor.dtype != torch.float32:
            raise _Bad(f"its {name} are stored as {str(tensor.dtype).removeprefix('torch.')}, not float32")
        if not tensor.isfinite().all():
            row = (~tensor.reshape(count, -1).isfinite()).any(1).nonzero()[0].item()
            raise _Bad(f"the {name} of part {row} are not finite")
    gaussians = PartGaussians(*(tensors[name] for name in SHAPES))
    _check_gaussians(gaussians)
    return Parts(gaussians, intrinsics)


def _check_gaussians(gaussians: PartGaussians) -> None:
    low, high = EIGENVALUES
    skew = (gaussians.axes @ gaussians.axes.mT - torch.eye(3)).abs().amax((-2, -1))
    for wrong, what in (
        ((gaussians.eigenvalues <= 0).any(-1), "is degenerate: an eigenvalue is not positive"),
        ((gaussians.eigenvalues < low).any(-1), f"is degenerate: an eigenvalue is below {low:g}"),
        ((gaussians.eigenvalues > high).any(-1), f"is degenerate: an eigenvalue is above {high:g}"),
        (skew > SKEW, "is degenerate: its axes are not orthonormal"),
        ((gaussians.means.abs() > FURTHEST).any(-1), f"lies more than {FURTHEST:g} from the middle of the world"),
    ):
        if wrong.any():
            raise _Bad(f"the Gaussian of part {int(wrong.nonzero()[0])} {what}")
